package main

import (
	"bytes"
	"io"
	"log" //nolint:depguard // to take it away from the libraries that use it
	"log/slog"
	"time"

	"github.com/fairlead-ws/fairlead/actor/limit"
	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// newLogger returns the logger that c describes. config has checked it.
func newLogger(w io.Writer, c config.Log) *slog.Logger { return leveledLogger(w, c, logLevel(c)) }

// leveledLogger is newLogger with a level that may change.
func leveledLogger(w io.Writer, c config.Log, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}

func logLevel(c config.Log) slog.Level {
	var level slog.Level
	if level.UnmarshalText([]byte(c.Level)) != nil {
		level = slog.LevelInfo
	}
	return level
}

// libraryLog is where libraries write that know no logger but that of the standard library. The HTTP client is one: it shows
// what an application sent behind its answer, which may be what the application was asked, a cookie for example. It may be
// used by many goroutines.
type libraryLog struct {
	logger *slog.Logger // fixed after takeLibraryLogs
	lines  limit.Lines
}

// Write implements [io.Writer]. Of a line it keeps what stands in front of the first thing that is quoted, and of the lines
// of a second the first.
func (l *libraryLog) Write(p []byte) (int, error) {
	held, ok := l.lines.Allow(time.Now())
	if !ok {
		return len(p), nil
	}
	text, _, _ := bytes.Cut(p, []byte("\n"))
	text, _, quotes := bytes.Cut(text, []byte(`"`))
	l.logger.Warn("a library has something to say", "says", string(bytes.TrimSpace(text)), "left_out", quotes, "lines_held_back", held)
	return len(p), nil
}

// takeLibraryLogs lets logger have what libraries log, until the function that it returns is called. There is one such log in
// a process.
func takeLibraryLogs(logger *slog.Logger) (stop func()) {
	flags, writer := log.Flags(), log.Writer()
	log.SetFlags(0)
	log.SetOutput(&libraryLog{logger: logger})
	return func() {
		log.SetFlags(flags)
		log.SetOutput(writer)
	}
}
