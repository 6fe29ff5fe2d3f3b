package authn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fairlead-ws/fairlead/authn/django"
	"github.com/fairlead-ws/fairlead/authn/internal/database"
)

// sessionFiles is a folder with a file for each session. The folder of a volume that is not mounted looks like one without
// sessions, but for the device that it is on.
type sessionFiles struct {
	// Fixed after newSessionFiles.
	dir, prefix string
	age         time.Duration
	zone        *time.Location
	deviceOf    func(fs.FileInfo) uint64
	slots       chan struct{} // taken by those who are at the folder
	timeout     time.Duration // of one look-up

	// Atomic.
	device atomic.Uint64 // on which the folder was at the start, or when a session was in it after doubt
	doubt  atomic.Bool   // it was on another one when it was looked at last
}

func newSessionFiles(c DjangoSessionConfig) (*sessionFiles, error) {
	f := &sessionFiles{
		dir: c.Dir, prefix: orDefault(c.Cookie, "sessionid"), age: c.CookieAge, zone: c.Location,
		deviceOf: deviceOf, slots: make(chan struct{}, maxFileLookups), timeout: cmp.Or(c.Timeout, database.DefaultTimeout),
	}
	if !isToken(f.prefix) {
		return nil, fmt.Errorf("%.80q cannot be a cookie's name", f.prefix)
	}
	device, err := f.look()
	f.device.Store(device)
	return f, err
}

const (
	// maxSessionFile is how much of a file is read, in bytes: more than a session can have.
	maxSessionFile = 2 << 20
	// maxFileLookups is how many look-ups are at the folder at once: where it does not answer, as one of a network may, each
	// takes a thread until it does.
	maxFileLookups = 32
)

var errNoAnswer = errors.New("the folder of sessions does not answer in time")

// within does work at the folder, until ctx ends or the timeout has passed; work goes on then, and nobody may look at what it
// finds.
func (f *sessionFiles) within(ctx context.Context, work func()) error {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, errNoAnswer)
	defer cancel()
	select {
	case f.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	done := make(chan struct{})
	go func() {
		defer func() {
			close(done)
			<-f.slots
		}()
		work()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *sessionFiles) load(ctx context.Context, key string) (keptSession, bool, error) {
	if len(key) > maxSessionKey || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return keptSession{}, false, nil // VALID_KEY_CHARS: no slash, no dot
	}
	var kept keptSession
	var there bool
	var failed error
	if err := f.within(ctx, func() { kept, there, failed = f.read(key) }); err != nil {
		return keptSession{}, false, err
	}
	return kept, there, failed
}

func (f *sessionFiles) read(key string) (keptSession, bool, error) {
	data, modified, err := readSessionFile(filepath.Join(f.dir, f.prefix+key))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return keptSession{}, false, f.lacks()
	case err != nil:
		return keptSession{}, false, withoutPath(err)
	case f.doubt.Load():
		f.believe()
	}
	return keptSession{data: data, unfilled: len(data) == 0, ends: func(s django.Session) (time.Time, bool) {
		ends, ok := s.FileEnds(modified, f.age, f.zone)
		if !ends.IsZero() {
			ends = ends.Add(-time.Second) // Django counts whole seconds that are left, and wants one
		}
		return ends, ok
	}}, true, nil
}

var errIrregular = errors.New("a session is no regular file")

func readSessionFile(path string) (data []byte, modified time.Time, err error) {
	file, err := openSessionFile(path)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errIrregular
	}
	if err != nil {
		return nil, time.Time{}, err
	}
	data, err = io.ReadAll(io.LimitReader(file, maxSessionFile))
	return data, info.ModTime(), err
}

// withoutPath leaves out the name of the file, which is the credential.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return fmt.Errorf("%s a session: %w", e.Op, e.Err)
	}
	return err
}

// lacks returns nil where a file is missing since there is no such session, and an error where nobody could say.
func (f *sessionFiles) lacks() error {
	device, err := f.look()
	if err != nil || device == f.device.Load() {
		return err
	}
	f.doubt.Store(true)
	return fmt.Errorf("the folder of sessions: %s is on another device than before: is it mounted? It is believed again when a session is found in it", f.dir)
}

// believe takes the folder as it is, since a session was in it: the volume was mounted anew.
func (f *sessionFiles) believe() {
	if device, err := f.look(); err == nil {
		f.device.Store(device)
		f.doubt.Store(false)
	}
}

// look returns the device that the folder is on, 0 where that cannot be known.
func (f *sessionFiles) look() (device uint64, err error) {
	info, err := os.Stat(f.dir)
	if err != nil {
		return 0, fmt.Errorf("the folder of sessions: %w", err)
	}
	if !info.IsDir() {
		return 0, fmt.Errorf("the folder of sessions: %s is none", f.dir)
	}
	return f.deviceOf(info), nil
}

func (f *sessionFiles) check(ctx context.Context) error {
	var failed error
	if err := f.within(ctx, func() { _, failed = f.look() }); err != nil {
		return err
	}
	return failed
}
