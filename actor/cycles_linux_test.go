package actor

import (
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/fairlead-ws/fairlead/session"
	"github.com/fairlead-ws/fairlead/session/journal"
)

// resources is what a process must not lose.
type resources struct {
	goroutines, descriptors int
	heap                    uint64
}

func measure(t *testing.T) resources {
	t.Helper()
	runtime.GC()
	runtime.GC() // what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return resources{runtime.NumGoroutine(), len(files), m.HeapInuse + m.StackInuse}
}

// Ten thousand connections come and go, each in one of six ways. Goroutines, descriptors and memory are where they were. What
// the wirings differ in would be lost by the KiB: there a tenth of them shows it, of connections that are dear.
func TestCycles(t *testing.T) { on(t, testCycles, overTCP, overTLS, compressed) }

func testCycles(t *testing.T, w wiring) {
	memory, err := journal.NewMemory(journal.MemoryConfig{MaxRecords: 512}) // it must not be what grows
	if err != nil {
		t.Fatal(err)
	}
	n := w.newNode(t, Config{Journal: memory})
	var groups []session.Group
	for _, name := range []string{"red", "blue", "green"} {
		groups = append(groups, mustGroup(t, name))
	}
	const together = 25
	cycle := func(count int) {
		for i := 0; i < count; i += together {
			clients := make([]*client, together)
			for k := range clients {
				ours, theirs := n.ends()
				clients[k] = &client{Conn: theirs}
				h := &caught{Handler: Broadcast, closed: make(chan Closure, 1)}
				err := n.Open(t.Context(), ours, Birth{
					Identity: session.Anonymous(), Handler: h, Groups: groups[k%2 : k%2+2],
					Pending: masked(text, "hello")[:k%12],
				})
				if err != nil {
					t.Fatal(err)
				}
				if k%6 == 5 {
					h.actor.Close(CloseForbidden, "")
				}
			}
			for k, c := range clients {
				c.SetDeadline(time.Now().Add(patience))
				_, err := c.Write(masked(text, "hello")[k%12%11:])
				switch k % 6 {
				case 0:
					_, err = c.Write(masked(closeBit, code(1000, "")))
				case 1:
					err = c.tcp().CloseWrite()
				case 2:
					c.tcp().SetLinger(0)
				case 3:
					_, err = c.Write([]byte{0xff, 0})
				case 4:
					c.Close()
				}
				if err != nil && k%6 != 5 {
					t.Fatal(err)
				}
				if k%6 < 4 && k%6 != 2 {
					_, _ = io.Copy(io.Discard, c) // to its end
				}
				c.Close()
			}
			eventually(t, "all are gone", func() bool { return n.Len() == 0 })
		}
	}
	count, first := 10_000, 1000
	if testing.Short() {
		count = 1000
	}
	if w != overTCP {
		count, first = count/10, first/2
	}
	cycle(first)
	before := measure(t)
	cycle(count)
	after := measure(t)
	for deadline := time.Now().Add(patience); after.goroutines > before.goroutines && time.Now().Before(deadline); {
		after = measure(t) // the last ones are about to end
	}
	if after.goroutines > before.goroutines || after.descriptors > before.descriptors || after.heap > before.heap+2<<20 {
		t.Errorf("%+v before %d cycles, %+v after", before, count, after)
	}
	for _, state := range []string{"fairlead_connections", "fairlead_groups", "fairlead_outbox_bytes"} {
		if v := n.value(state, ""); v != 0 {
			t.Errorf("%s = %v, want 0", state, v)
		}
	}
	if closes := n.value("fairlead_closes_total", ""); closes != float64(first+count) {
		t.Errorf("closes = %v, want %d", closes, first+count)
	}
}
