package metrics

import (
	"runtime"
	"runtime/debug"
)

// Build says what the program was built from.
type Build struct {
	Version   string // of the module, as "v0.1.0"; "devel" outside of a release, "unknown" without build information
	Revision  string // of the source, with "-dirty" where it was changed; "unknown" where the build did not say
	GoVersion string // as "go1.26.0"
}

const unknown = "unknown"

// ReadBuild reads what the Go tool wrote into the running program.
func ReadBuild() Build { return readBuild(debug.ReadBuildInfo()) }

func readBuild(info *debug.BuildInfo, ok bool) Build {
	b := Build{Version: unknown, Revision: unknown, GoVersion: runtime.Version()}
	if !ok {
		return b
	}
	switch v := info.Main.Version; v {
	case "":
	case "(devel)":
		b.Version = "devel"
	default:
		b.Version = v
	}
	dirty := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if b.Revision != unknown {
		b.Revision += dirty
	}
	return b
}
