package journal

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// A gap or an announcement whose acknowledgement was lost is in the log, and counts as this writer's: nobody else is
// blamed for it, and it is known to be missing should the log lose it.
func TestCompareKnowsItsOwn(t *testing.T) {
	epoch := session.Epoch{1}
	for _, tt := range []struct {
		writer  string
		records uint64 // of the lane, after it
		warns   bool
	}{{"me", 7, false}, {"other", 4, true}} {
		var said bytes.Buffer
		j := &JetStream{name: "me", log: slog.New(slog.NewTextHandler(&said, nil)), config: JetStreamConfig{Epoch: epoch}}
		l := &lane{last: 10, records: 4, since: time.Unix(1, 0)}
		j.compare(epoch, l, tail{sequence: 11, batch: tt.writer + ".9", records: 7, time: time.Unix(2, 0)}, false, nil)
		if l.last != 11 || l.records != tt.records || strings.Contains(said.String(), "somebody else") != tt.warns {
			t.Errorf("%s wrote: %+v, %q", tt.writer, *l, said.String())
		}
		j.compare(epoch, l, tail{}, false, nil)
		if len(j.marking) != 1 || j.marking[0].lost != tt.records {
			t.Errorf("%s wrote, and it is lost: %+v", tt.writer, j.marking)
		}
	}
}
