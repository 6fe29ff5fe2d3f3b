package journal

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"

	"github.com/fairlead-ws/fairlead/session"
)

// FuzzDecode holds that a message of the log, whoever wrote it, is refused or read within its bounds.
func FuzzDecode(f *testing.F) {
	f.Add("", []byte(seal))
	f.Add(encodingS2, s2.Encode(nil, []byte(seal)))
	f.Add(encodingS2, []byte("\xff\xff\xff\xff\x0f"))
	f.Add("zstd", []byte(seal))
	f.Fuzz(func(t *testing.T, encoding string, data []byte) {
		text, err := decode(nats.Header{headerEncoding: {encoding}}, data)
		if err == nil && encoding != "" && len(text) > maxDecoded {
			t.Fatalf("%d bytes are decoded to %d", len(data), len(text))
		}
		sealed(text)
	})
}

const seal = `{"v":1,"t":"2026-11-24T12:00:38Z","s":"dc2nog01081g81860s40-0","n":5,"k":"node_sealed","e":{"reason":"x"}}` + "\n"

func TestSealed(t *testing.T) {
	later := strings.Replace(seal, "node_sealed", "later", 1)
	for text, want := range map[string]bool{"": false, "\n": false, seal: true, later + seal: true, seal + later: false, "x": false} {
		if got := sealed([]byte(text)); got != want {
			t.Errorf("%q: sealed = %v", text, got)
		}
	}
}

// A batch is written as it was appended, small or compressed, with the node's numbers in their places.
func TestBatchIsWrittenWhole(t *testing.T) {
	epoch := session.Epoch{1}
	node := session.Record{Time: time.Unix(1, 0), Session: session.ID{Epoch: epoch}, Seq: 99, Event: session.Refused{Count: 1}}
	one := session.Record{Time: time.Unix(2, 0), Session: session.ID{Epoch: epoch, Number: 1}, Seq: 1, Event: session.Closed{Code: 1000}}
	for _, appends := range []int{1, 2, 50} {
		var b batch
		var want []byte
		number := uint64(7)
		for range appends {
			var p parcel
			if err := p.pack([]session.Record{node, one, node}); err != nil {
				t.Fatal(err)
			}
			b.add(&p)
			for _, r := range []session.Record{node, one, node} {
				if r.Session.Number == 0 {
					number++
					r.Seq = number
				}
				line, err := r.AppendJSON(want)
				if err != nil {
					t.Fatal(err)
				}
				want = append(line, '\n')
			}
		}
		last := b.freeze(7, nil)
		got, err := decode(nats.Header{headerEncoding: {b.encoding}}, b.message)
		if err != nil || !bytes.Equal(got, want) || last != number {
			t.Errorf("%d appends are written as\n%s (%v), want\n%s", appends, got, err, want)
		}
		if b.size < len(want) {
			t.Errorf("the batch counts %d bytes, and has %d", b.size, len(want))
		}
	}
}
