package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"unicode/utf8"

	"github.com/fairlead-ws/fairlead/bus"
	"github.com/fairlead-ws/fairlead/session"
)

// The bounds of what one request publishes.
const (
	maxPublishBody = 2 << 20
	maxBatchBody   = 4 << 20
	maxGroups      = 1000   // of one message
	maxBatch       = 1000   // messages
	maxDeliveries  = 10_000 // messages times their groups
)

// publishMessage is a message, as a request has it.
type publishMessage struct {
	Group      string          `json:"group"`
	Groups     []string        `json:"groups"`
	Data       json.RawMessage `json:"data"`
	DataBase64 *string         `json:"data_base64"`
	Binary     *bool           `json:"binary"`
}

type publishRequest struct {
	publishMessage
	IdempotencyKey string `json:"idempotency_key"`
}

type batchRequest struct {
	Messages       []publishMessage `json:"messages"`
	IdempotencyKey string           `json:"idempotency_key"`
}

// publishResult is the answer to both.
type publishResult struct {
	// Published is how many messages went out, one for each group.
	Published int `json:"published"`
	// Reach is "cluster", or "node" while NATS is away: only members on this node have got it then.
	Reach string `json:"reach"`
	// Replayed: a request with the same idempotency key did it before, and this one did nothing.
	Replayed bool `json:"replayed"`
}

// parse returns what is to be published. The error says which part is wrong; where is what the message is called in it.
func (m *publishMessage) parse(where string) ([]bus.Message, error) {
	payload, isBinary, err := m.payload()
	if err != nil {
		return nil, badRequest("message", where+err.Error())
	}
	names := m.Groups
	switch {
	case m.Group != "" && m.Groups != nil:
		return nil, badRequest("group", where+"there are both group and groups; want one of the two")
	case m.Group != "":
		names = []string{m.Group}
	case len(names) == 0:
		return nil, badRequest("group", where+"there is no group; want group, a name, or groups, a list of names")
	case len(names) > maxGroups:
		return nil, badRequest("group", fmt.Sprintf("%sthere are %d groups; want at most %d", where, len(names), maxGroups))
	}
	list := make([]bus.Message, len(names))
	for i, name := range names {
		g, err := session.ParseGroup(name)
		if err != nil {
			return nil, badRequest("group", where+err.Error())
		}
		list[i] = bus.Message{Group: g, Binary: isBinary, Payload: payload}
	}
	return list, nil
}

// payload returns the message's bytes, and whether it goes out as a binary message.
func (m *publishMessage) payload() ([]byte, bool, error) {
	switch {
	case m.DataBase64 != nil && m.Data != nil:
		return nil, false, errors.New("there are both data and data_base64; want one of the two")
	case m.DataBase64 != nil:
		b, err := base64.StdEncoding.DecodeString(*m.DataBase64)
		if err != nil {
			return nil, false, errors.New("data_base64 is no base64 (RFC 4648 section 4, with padding)")
		}
		isBinary := m.Binary == nil || *m.Binary
		if !isBinary && !utf8.Valid(b) {
			return nil, false, errors.New("data_base64 is not UTF-8, so it cannot be a text message; leave binary out")
		}
		return b, isBinary, nil
	case m.Data == nil || string(m.Data) == "null":
		return nil, false, errors.New("there is no data; want data, a text or any other JSON value, or data_base64")
	}
	isBinary := m.Binary != nil && *m.Binary
	if m.Data[0] == '"' {
		var text string
		if err := json.Unmarshal(m.Data, &text); err != nil {
			return nil, false, errors.New("data is no JSON text")
		}
		return []byte(text), isBinary, nil
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, m.Data); err != nil {
		return nil, false, errors.New("data is no JSON")
	}
	return compact.Bytes(), isBinary, nil
}

// postPublish answers POST /api/v1/publish.
func (a *API) postPublish(w http.ResponseWriter, r *http.Request) (any, error) {
	var body publishRequest
	if _, err := parameters(r); err != nil {
		return nil, err
	}
	if err := decode(w, r, maxPublishBody, false, &body); err != nil {
		return nil, err
	}
	list, err := body.parse("")
	if err != nil {
		return nil, err
	}
	return a.publish(r, list, body.IdempotencyKey)
}

// postBatch answers POST /api/v1/publish/batch: all messages are looked at before the first goes out.
func (a *API) postBatch(w http.ResponseWriter, r *http.Request) (any, error) {
	var body batchRequest
	if _, err := parameters(r); err != nil {
		return nil, err
	}
	if err := decode(w, r, maxBatchBody, false, &body); err != nil {
		return nil, err
	}
	list, err := body.parse()
	if err != nil {
		return nil, err
	}
	return a.publish(r, list, body.IdempotencyKey)
}

func (b *batchRequest) parse() ([]bus.Message, error) {
	if len(b.Messages) == 0 || len(b.Messages) > maxBatch {
		return nil, badRequest("message", fmt.Sprintf("there are %d messages; want 1 to %d", len(b.Messages), maxBatch))
	}
	var list []bus.Message
	for i := range b.Messages {
		part, err := b.Messages[i].parse(fmt.Sprintf("messages[%d]: ", i))
		if err != nil {
			return nil, err
		}
		if list = append(list, part...); len(list) > maxDeliveries {
			return nil, badRequest("message", fmt.Sprintf("the messages have more than %d groups together; send less at once", maxDeliveries))
		}
	}
	return list, nil
}

// publish publishes the list, at most once for each idempotency key.
func (a *API) publish(r *http.Request, list []bus.Message, key string) (any, error) {
	key, err := idempotencyKey(r, key)
	if err != nil {
		return nil, err
	}
	if key == "" {
		done, err := a.publishAll(r.Context(), list, 0)
		if err != nil {
			return nil, err
		}
		return publishResult{Published: done, Reach: a.reach()}, nil
	}
	k := a.idempotency.get(caller(r.Context())+"\x00"+key, digest(list))
	if k == nil {
		return nil, &problem{
			Code: "idempotency_conflict", Message: "this idempotency key was used for another request; want a new key for each",
			status: http.StatusConflict,
		}
	}
	select { // a request with the same key that is under way comes first
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-r.Context().Done():
		return nil, busy("a request with this idempotency key is under way; ask again")
	}
	if k.done == len(list) {
		return publishResult{Published: k.done, Reach: k.reach, Replayed: true}, nil
	}
	k.done, err = a.publishAll(r.Context(), list, k.done)
	if err != nil {
		return nil, err
	}
	k.reach = a.reach()
	return publishResult{Published: k.done, Reach: k.reach}, nil
}

func (a *API) reach() string {
	if a.backend.Publisher.Connected() {
		return "cluster"
	}
	return "node"
}

// ready is a [bus.Waiter] that waits for one BusReady.
type ready chan struct{}

// BusReady implements [bus.Waiter].
func (r ready) BusReady() {
	select {
	case r <- struct{}{}:
	default:
	}
}

// publishAll publishes what is not done of the list, in order, and returns how many are then. While the bus is busy it
// waits, until ctx ends.
func (a *API) publishAll(ctx context.Context, list []bus.Message, done int) (int, error) {
	again := make(ready, 1)
	for done < len(list) {
		err := a.backend.Publisher.Publish(list[done], again)
		switch {
		case err == nil:
			done++
		case errors.Is(err, bus.ErrBusy):
			select {
			case <-again:
			case <-ctx.Done():
				return done, half(busy("the bus is busy, since more is published than members or NATS take"), done, len(list))
			}
		case errors.Is(err, bus.ErrTooLarge):
			return done, half(&problem{
				Code: "too_large", status: http.StatusRequestEntityTooLarge,
				Message: fmt.Sprintf("the message for %s has %d bytes, which is over limits.message_bytes or NATS' max_payload",
					list[done].Group, len(list[done].Payload)),
			}, done, len(list))
		default:
			return done, half(unavailable("the node is stopping; ask another one"), done, len(list))
		}
	}
	return done, nil
}

// half adds to p what was done before it.
func half(p *problem, done, all int) *problem {
	if done > 0 {
		p.Message += fmt.Sprintf("; %d of %d were published: with the same idempotency key, a second try goes on from there", done, all)
	}
	return p
}

// digest is the same for two lists only if they publish the same.
func digest(list []bus.Message) [sha256.Size]byte {
	h := sha256.New()
	var head [10]byte
	write := func(b []byte, mark byte) {
		head[0] = mark
		n := 1 + binary.PutUvarint(head[1:], uint64(len(b)))
		h.Write(head[:n])
		h.Write(b)
	}
	for i := range list {
		m := &list[i]
		write([]byte(m.Group.String()), 'g')
		if i > 0 && m.Binary == list[i-1].Binary && sameBytes(m.Payload, list[i-1].Payload) {
			continue // of the same message
		}
		mark := byte('t')
		if m.Binary {
			mark = 'b'
		}
		write(m.Payload, mark)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// sameBytes reports whether a and b are the same memory.
func sameBytes(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }
