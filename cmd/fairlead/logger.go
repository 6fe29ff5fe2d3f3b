package main

import (
	"io"
	"log/slog"

	"github.com/fairlead-ws/fairlead/cmd/fairlead/internal/config"
)

// newLogger returns the logger that c describes. config has checked it.
func newLogger(w io.Writer, c config.Log) *slog.Logger {
	var level slog.Level
	if level.UnmarshalText([]byte(c.Level)) != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, options))
	}
	return slog.New(slog.NewTextHandler(w, options))
}
