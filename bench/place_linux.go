package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/fairlead-ws/fairlead/bench/internal/crowd"
	"github.com/fairlead-ws/fairlead/bench/internal/floor"
	"github.com/fairlead-ws/fairlead/bench/internal/natsd"
	"github.com/fairlead-ws/fairlead/bench/internal/server"
	"github.com/fairlead-ws/fairlead/bench/internal/tlscrowd"
	"github.com/fairlead-ws/fairlead/bench/internal/trial"
)

// secret signs the tokens. It is no secret: the server that has it lives as long as a run, on the loopback.
const secret = "bench: a key for HS256, longer than 32 bytes"

// serverPackage is what is built and measured.
const serverPackage = "github.com/fairlead-ws/fairlead/cmd/fairlead"

// place is a folder with the programs of a run.
type place struct {
	program string // server
	nats    string
	dir     string
	self    string // this program, for the clients
	natsd   string // the program of a NATS server; "": not built yet
	loop    string // send loop in C; "": the one in Go
	django  *site  // nil: not made yet
	say     func(format string, args ...any)
	notes   []string
}

// open makes the folder and what is missing in it. The caller removes it.
func (p *place) open(ctx context.Context) (err error) {
	if p.self, err = os.Executable(); err != nil {
		return err
	}
	if p.program != "" {
		if _, err := os.Stat(p.program); err != nil {
			return fmt.Errorf("server: %w", err)
		}
	}
	if p.dir, err = os.MkdirTemp("", "fairlead-bench-"); err != nil {
		return err
	}
	if p.program == "" {
		p.say("building %s", serverPackage)
		if p.program, err = server.Build(ctx, p.dir, "fairlead", serverPackage); err != nil {
			os.RemoveAll(p.dir)
			return err
		}
	}
	return nil
}

// version returns what the server says of itself.
func (p *place) version(ctx context.Context) string {
	out, err := exec.CommandContext(ctx, p.program, "version").Output()
	if err != nil {
		return p.program
	}
	line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
	return string(line)
}

func (p *place) bench() *trial.Bench {
	return &trial.Bench{
		Server: p.startServer, NATS: p.startNATS, Crowd: p.startCrowd, TLS: p.startTLS, Loop: p.startLoop, Say: p.say,
		Django: p.startDjango, Channels: p.startChannels,
	}
}

func (p *place) startServer(ctx context.Context, setup trial.Setup) (*trial.Target, error) {
	dir, err := os.MkdirTemp(p.dir, "server-")
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for key, value := range setup.Settings {
		all[key] = strings.ReplaceAll(value, trial.Dir, dir)
	}
	if p.nats != "" {
		delete(all, "nats.store_dir") // of the embedded server, which there is none of then
	}
	s, err := server.Start(ctx, dir, p.program, server.Config{
		Secret: secret, NATS: p.nats, Settings: all, Tables: strings.ReplaceAll(setup.Tables, trial.Dir, dir),
	})
	if err != nil {
		return nil, err
	}
	return &trial.Target{
		PID: s.PID(), Address: s.Address, Internal: s.Internal, Secret: secret, Metrics: s.Metrics, Stop: s.Stop, Ended: s.Ended,
	}, nil
}

func (p *place) startNATS(ctx context.Context) (trial.NATS, error) {
	if p.natsd == "" {
		p.say("building %s", natsd.Package)
		program, err := server.Build(ctx, p.dir, "nats-server", natsd.Package)
		if err != nil {
			return nil, err
		}
		p.natsd = program
	}
	dir, err := os.MkdirTemp(p.dir, "nats-")
	if err != nil {
		return nil, err
	}
	address, err := server.FreeAddress("")
	if err != nil {
		return nil, err
	}
	return natsd.Start(ctx, dir, p.natsd, address)
}

func (p *place) startCrowd(ctx context.Context) (*crowd.Client, error) {
	return crowd.Start(ctx, p.self, crowdWord)
}

func (p *place) startTLS(ctx context.Context, c tlscrowd.Clients) (*tlscrowd.Crowd, error) {
	return tlscrowd.Start(ctx, c, p.self, tlsWord)
}

// startLoop prefers the loop in C, and says it when there is none.
func (p *place) startLoop(ctx context.Context, connections, size int) (*floor.Loop, error) {
	if p.loop == "" {
		program, err := floor.Compile(ctx, p.dir)
		if err != nil {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			p.note(fmt.Sprintf("the send loop is the one in Go, since the one in C cannot be compiled: %v", err))
			return floor.Start(ctx, connections, size, p.self, loopWord)
		}
		p.loop = program
	}
	return floor.Start(ctx, connections, size, p.loop)
}

func (p *place) note(s string) {
	if !slices.Contains(p.notes, s) {
		p.notes = append(p.notes, s)
	}
}
