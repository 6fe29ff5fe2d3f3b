package main

import (
	"io"
	"log/slog"

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
