package authn

import (
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A pipe is not waited for, also one that takes the place of a session this very moment: the opening itself does not wait.
func TestDjangoSessionFilesPipe(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "sessionidpipe1234")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := openSessionFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	v := newDjangoSession(t, DjangoSessionConfig{Engine: EngineFile, Dir: dir, CookieAge: time.Hour})
	_, err = verify(t, v, "pipe1234")
	wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable, "pipe1234")
}
