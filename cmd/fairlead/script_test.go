package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the command line as people do: testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                filepath.Join("testdata", "script"),
		RequireUniqueNames: true,
		Setup: func(e *testscript.Env) error {
			django, err := os.ReadFile(filepath.Join("testdata", "django.sqlite3"))
			if err != nil {
				return err
			}
			return errors.Join(writeKeys(e.WorkDir), os.WriteFile(filepath.Join(e.WorkDir, "django.sqlite3"), django, 0o600))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"node": startNode, "until": until},
	})
}

// startNode is the command `node ARG...`: it runs `fairlead serve ARG...` on free ports until the script ends, and sets
// PUBLIC and FAIRLEAD_API to where it listens.
func startNode(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("! node means nothing")
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &serving{stdout: &output{}, stderr: &output{}, stop: cancel, ended: make(chan error, 1)}
	for i, arg := range args {
		if strings.HasSuffix(arg, ".toml") {
			args[i] = ts.MkAbs(arg)
		}
	}
	args = append([]string{"fairlead", "serve", "--listen", "127.0.0.1:0", "--internal", "127.0.0.1:0", "--log-format", "json"}, args...)
	go func() { s.ended <- run(ctx, args, ts.Getenv, strings.NewReader(""), s.stdout, s.stderr) }()
	ts.Defer(func() { ts.Check(s.end()) })
	poll(ts, "node", func() bool {
		s.findAddresses()
		return s.public != "" && s.ready(200) == nil
	})
	ts.Setenv("PUBLIC", "ws://"+s.public)
	ts.Setenv("FAIRLEAD_API", "http://"+s.internal)
}

// until is the command `until PATTERN PROGRAM ARG...`: it runs the program again and again until it prints what matches.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("want: until PATTERN PROGRAM ARG...")
	}
	pattern := regexp.MustCompile("(?m)" + args[0])
	poll(ts, strings.Join(args, " "), func() bool {
		if err := ts.Exec(args[1], args[2:]...); err != nil {
			return false
		}
		return pattern.MatchString(ts.ReadFile("stdout"))
	})
}

// poll asks ok until it is true.
func poll(ts *testscript.TestScript, what string, ok func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(15 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			ts.Fatalf("not within 15 s: %s", what)
		}
	}
}

// writeKeys writes two fresh key pairs, private.pem with public.pem, and other.pem.
func writeKeys(dir string) error {
	for private, public := range map[string]string{"private.pem": "public.pem", "other.pem": "other-public.pem"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, private), "PRIVATE KEY", der); err != nil {
			return err
		}
		if der, err = x509.MarshalPKIXPublicKey(&key.PublicKey); err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, public), "PUBLIC KEY", der); err != nil {
			return err
		}
	}
	return nil
}

func writePEM(name, kind string, der []byte) error {
	return os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
