package metrics

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestReadBuild(t *testing.T) {
	settings := func(keysAndValues ...string) (s []debug.BuildSetting) {
		for i := 0; i < len(keysAndValues); i += 2 {
			s = append(s, debug.BuildSetting{Key: keysAndValues[i], Value: keysAndValues[i+1]})
		}
		return s
	}
	for name, tt := range map[string]struct {
		info              *debug.BuildInfo
		version, revision string
	}{
		"none":             {nil, "unknown", "unknown"},
		"empty":            {&debug.BuildInfo{}, "unknown", "unknown"},
		"devel":            {&debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "devel", "unknown"},
		"release":          {&debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: settings("vcs", "git", "vcs.revision", "abc", "vcs.modified", "false")}, "v1.2.3", "abc"},
		"dirty":            {&debug.BuildInfo{Settings: settings("vcs.revision", "abc", "vcs.modified", "true")}, "unknown", "abc-dirty"},
		"dirty, listed so": {&debug.BuildInfo{Settings: settings("vcs.modified", "true", "vcs.revision", "abc")}, "unknown", "abc-dirty"},
		"no revision":      {&debug.BuildInfo{Settings: settings("vcs.modified", "true", "vcs.revision", "")}, "unknown", "unknown"},
	} {
		want := Build{Version: tt.version, Revision: tt.revision, GoVersion: runtime.Version()}
		if got := readBuild(tt.info, tt.info != nil); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if b := ReadBuild(); b.Version == "" || b.Revision == "" || b.GoVersion != runtime.Version() {
		t.Errorf("ReadBuild() = %+v, want no empty field", b)
	}
}
