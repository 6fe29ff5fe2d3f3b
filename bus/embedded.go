package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	defaultServerName  = "fairlead"
	defaultStoreMemory = int64(256 << 20)
	defaultStoreBytes  = int64(1 << 30)

	// startPatience is how long an embedded server may take to start; it needs some milliseconds.
	startPatience = 10 * time.Second
)

// ErrStore is returned, wrapped with the cause, by StartEmbedded where JetStream's folder is no good.
var ErrStore = errors.New("bus: embedded server: JetStream")

// EmbeddedConfig is the configuration of an [Embedded] server. The zero value is a server for this process alone,
// without JetStream.
type EmbeddedConfig struct {
	// Name is the server's name. "": "fairlead".
	Name string
	// Listen is the address, host:port, on which other clients may connect; port 0 takes a free one. "": none, only this
	// process reaches the server.
	Listen string
	// User and Password are asked of every client, if User is set. Without them everyone who reaches Listen may publish
	// and listen to every group.
	User, Password string
	// MaxPayload is the largest message in bytes. 0: 1 MiB.
	MaxPayload int
	// JetStream turns JetStream on.
	JetStream bool
	// StoreDir is the folder of JetStream's files. "": streams are kept in memory, and gone with the process. The server
	// wants a folder even then: it gets one of the system's for temporary files, which Close removes.
	StoreDir string
	// StoreBytes bounds what JetStream keeps, on disk with a StoreDir, else in memory. 0: 1 GiB and 256 MiB.
	StoreBytes int64
	// Logger gets what the server says. Nil: slog.Default().
	Logger *slog.Logger
}

// Embedded is a NATS server inside this process, for one node: nodes that share groups share a NATS of their own.
//
// A client that does not read its messages is cut off after one second, and nobody who publishes waits for it: messages
// to it are dropped by the server while it stalls. The node itself always reads.
type Embedded struct {
	server         *server.Server
	user, password string
	temporary      string // a folder to remove, or ""
	storeBytes     int64
}

// StartEmbedded starts a server and returns when it is ready. The caller closes it, after the buses that use it.
func StartEmbedded(c EmbeddedConfig) (*Embedded, error) {
	if c.MaxPayload < 0 || c.StoreBytes < 0 {
		return nil, errNegative
	}
	o := &server.Options{
		ServerName: cmp.Or(c.Name, defaultServerName),
		DontListen: c.Listen == "",
		Username:   c.User,
		Password:   c.Password,
		MaxPayload: int32(cmp.Or(c.MaxPayload, defaultMaxPayload)),

		NoSigs: true, // the signals are the program's
		NoLog:  true, // the logger is set below

		// A client that does not read stalls those who publish to it, by default for ten seconds.
		WriteDeadline:       time.Second,
		NoFastProducerStall: true,
	}
	if c.Listen != "" {
		host, port, err := net.SplitHostPort(c.Listen)
		if err != nil {
			return nil, fmt.Errorf("bus: embedded server: listen: %w", err)
		}
		o.Host = host
		if o.Port, err = strconv.Atoi(port); err != nil || o.Port < 0 || o.Port > 65535 {
			return nil, fmt.Errorf("bus: embedded server: listen %q: want a port from 0 to 65535", c.Listen)
		}
		if o.Port == 0 {
			o.Port = server.RANDOM_PORT
		}
	}
	e := &Embedded{user: c.User, password: c.Password}
	if c.JetStream {
		if err := e.store(o, c.StoreDir, c.StoreBytes); err != nil {
			return nil, err
		}
	}
	if err := e.start(o, cmp.Or(c.Logger, slog.Default())); err != nil {
		e.clean()
		return nil, err
	}
	return e, nil
}

// store turns JetStream on, with a limit of one byte for the kind of store that is not meant: 0 would be three quarters
// of the machine.
func (e *Embedded) store(o *server.Options, dir string, bytes int64) error {
	o.JetStream = true
	o.DisableJetStreamBanner = true
	if dir != "" {
		e.storeBytes = cmp.Or(bytes, defaultStoreBytes)
		o.StoreDir, o.JetStreamMaxStore, o.JetStreamMaxMemory = dir, e.storeBytes, 1
		return nil
	}
	var errs []error
	for _, parent := range []string{os.TempDir(), "/dev/shm"} { // an image made from scratch has no folder for temporary files
		dir, err := os.MkdirTemp(parent, "fairlead-jetstream-")
		if err == nil {
			e.temporary = dir
			e.storeBytes = cmp.Or(bytes, defaultStoreMemory)
			o.StoreDir, o.JetStreamMaxStore, o.JetStreamMaxMemory = dir, 1, e.storeBytes
			return nil
		}
		errs = append(errs, err)
	}
	return fmt.Errorf("%w needs a folder for a few files, also to keep streams in memory; name one with TMPDIR: %w", ErrStore, errors.Join(errs...))
}

// start starts the server and returns when it is ready, or has failed and ended.
func (e *Embedded) start(o *server.Options, logger *slog.Logger) error {
	s, err := server.NewServer(o)
	if err != nil {
		return fmt.Errorf("bus: embedded server: %w", err)
	}
	log := &serverLog{log: logger}
	s.SetLoggerV2(log, false, false, false)
	s.Start()
	// A server that failed to start says so in its log only, and is never ready.
	if fatal := log.fatal.Load(); fatal != nil || !s.ReadyForConnections(startPatience) {
		s.Shutdown()
		if fatal != nil && strings.Contains(*fatal, "JetStream") {
			return fmt.Errorf("%w in %s: %s", ErrStore, o.StoreDir, *fatal)
		}
		if fatal != nil {
			return fmt.Errorf("bus: embedded server: %s", *fatal)
		}
		return errors.New("bus: embedded server: it is not ready")
	}
	e.server = s
	return nil
}

// clean removes the folder that the server was given for the time of its life.
func (e *Embedded) clean() {
	if e.temporary != "" {
		_ = os.RemoveAll(e.temporary) // what stays of it is the system's to remove
	}
}

// URL returns where other clients reach the server, without user and password; "" if it does not listen.
func (e *Embedded) URL() string {
	if e.server.Addr() == nil {
		return ""
	}
	return e.server.ClientURL()
}

// StoreBytes returns how much JetStream keeps at most; 0 where it is off.
func (e *Embedded) StoreBytes() int64 { return e.storeBytes }

// Close ends the server. When ctx ends first, it returns ctx's error and the server goes on ending. It is idempotent.
func (e *Embedded) Close(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		e.server.Shutdown()
		e.server.WaitForShutdown()
		e.clean()
		close(ended)
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("bus: close the embedded server: %w", ctx.Err())
	}
}

// serverLog hands the server's log to slog. It implements server.Logger.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string] // the first reason why the server cannot go on
}

func (l *serverLog) say(level slog.Level, format string, v []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "nats-server: "+redact(fmt.Sprintf(format, v...)))
	}
}

func (l *serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {} // it would have payloads

// Fatalf does not end the process, which is not the server's to end.
func (l *serverLog) Fatalf(format string, v ...any) {
	text := redact(fmt.Sprintf(format, v...))
	l.fatal.CompareAndSwap(nil, &text)
	l.say(slog.LevelError, "%s", []any{text})
}
