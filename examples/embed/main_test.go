package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLength: the example is what an issue promised, a program of under 60 lines.
func TestLength(t *testing.T) {
	b, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(b), "\n"); n >= 60 {
		t.Errorf("main.go has %d lines, want under 60", n)
	}
}

// TestEmbed builds the program and talks to it.
func TestEmbed(t *testing.T) {
	program := filepath.Join(t.TempDir(), "embed")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.Command(program, "127.0.0.1:0")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr, logged := make(chan string, 1), make(chan string, 1)
	go func() {
		var log strings.Builder
		said := regexp.MustCompile(`serving address=(\S+)`)
		for r := bufio.NewReader(stderr); ; {
			line, err := r.ReadString('\n')
			log.WriteString(line)
			if m := said.FindStringSubmatch(line); m != nil {
				addr <- m[1]
			}
			if err != nil {
				logged <- log.String()
				return
			}
		}
	}()
	ended := false
	defer func() {
		if !ended {
			cmd.Process.Kill()
			t.Logf("the program said:\n%s", <-logged)
			cmd.Wait()
		}
	}()

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var conns []io.ReadWriter
	select {
	case a := <-addr:
		for range 2 {
			conn, br, _, err := ws.Dial(ctx, "ws://"+a+"/rooms/lobby")
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			if br == nil { // nothing came with the response yet
				br = bufio.NewReader(conn)
			}
			conns = append(conns, struct {
				io.Reader
				io.Writer
			}{br, conn})
		}
	case <-ctx.Done():
		t.Fatal("no address")
	}
	if err := wsutil.WriteClientText(conns[0], []byte("ahoi")); err != nil {
		t.Fatal(err)
	}
	for i, c := range conns {
		if text, err := wsutil.ReadServerText(c); err != nil || string(text) != "AHOI" {
			t.Errorf("client %d reads %q, %v; want AHOI", i, text, err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for i, c := range conns {
		h, err := ws.ReadHeader(c)
		if err != nil || h.OpCode != ws.OpClose || h.Length > 125 {
			t.Fatalf("client %d reads %+v, %v; want a close", i, h, err)
		}
		payload := make([]byte, h.Length)
		if _, err := io.ReadFull(c, payload); err != nil {
			t.Fatalf("client %d: %v", i, err)
		}
		if code, _ := ws.ParseCloseFrameData(payload); code != 1012 {
			t.Errorf("client %d is closed with %d, want 1012", i, code)
		}
		if err := ws.WriteFrame(c, ws.MaskFrameInPlace(ws.NewCloseFrame(payload))); err != nil {
			t.Errorf("client %d: %v", i, err)
		}
	}
	log := <-logged
	ended = true
	if err := cmd.Wait(); err != nil {
		t.Errorf("the program ends with %v, and said:\n%s", err, log)
	}
}
