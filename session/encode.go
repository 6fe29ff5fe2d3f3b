package session

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// MarshalJSON implements [json.Marshaler]. The form is {"v":1,"t":TIME,"s":ID,"n":SEQ,"k":KIND,"e":{…}}, the time in
// UTC as in RFC 3339 with nanoseconds where there are some. It fails only as [Record.Check] does.
func (r Record) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil) }

// AppendJSON appends the JSON form of r, on one line and without the white space that JSON allows. It does what
// [Record.MarshalJSON] does, at a fraction of the cost: a journal writes hundreds of thousands in a second. On an error,
// which is that of [Record.Check], b comes back as it was.
func (r Record) AppendJSON(b []byte) ([]byte, error) {
	if err := r.Check(); err != nil {
		return b, err
	}
	b = append(b, `{"v":1,"t":`...)
	b = appendTime(b, r.Time)
	b = append(b, `,"s":"`...)
	b, _ = r.Session.AppendText(b) // it never fails
	b = append(b, `","n":`...)
	b = strconv.AppendUint(b, r.Seq, 10)
	b = append(b, `,"k":`...)
	b = appendString(b, string(r.Event.Kind()))
	b = append(b, `,"e":`...)
	return append(appendEvent(b, r.Event), '}'), nil
}

// appendEvent appends the JSON form of an event that passes Check.
func appendEvent(b []byte, e Event) []byte {
	switch e := e.(type) {
	case Opened:
		return e.append(b)
	case Joined:
		return appendGroup(b, e.Group)
	case Left:
		return appendGroup(b, e.Group)
	case Refreshed:
		if e.Expires.IsZero() {
			return append(b, "{}"...)
		}
		return append(appendTime(append(b, `{"expires":`...), e.Expires), '}')
	case Closed:
		b = strconv.AppendUint(append(b, `{"code":`...), uint64(e.Code), 10)
		b = appendString(append(b, `,"reason":`...), e.Reason)
		b = strconv.AppendUint(append(b, `,"messages_received":`...), e.MessagesReceived, 10)
		b = strconv.AppendUint(append(b, `,"messages_sent":`...), e.MessagesSent, 10)
		b = strconv.AppendUint(append(b, `,"bytes_received":`...), e.BytesReceived, 10)
		return append(strconv.AppendUint(append(b, `,"bytes_sent":`...), e.BytesSent, 10), '}')
	case Refused:
		return e.append(b)
	case NodeStarted:
		b = appendString(append(b, `{"node":`...), e.Node)
		return append(appendString(append(b, `,"version":`...), e.Version), '}')
	case NodeDraining:
		b = strconv.AppendInt(append(b, `{"connections":`...), int64(e.Connections), 10)
		return append(strconv.AppendInt(append(b, `,"window_ns":`...), int64(e.Window), 10), '}')
	case NodeSealed:
		return append(appendString(append(b, `{"reason":`...), e.Reason), '}')
	case Gap:
		b = appendTime(append(b, `{"since":`...), e.Since)
		b = strconv.AppendUint(append(b, `,"lost":`...), e.Lost, 10)
		return append(appendString(append(b, `,"reason":`...), e.Reason), '}')
	case Unknown:
		return appendRaw(b, e.Data)
	default:
		panic("session: an event that nobody taught to be written") // the set is closed, and each kind has a golden
	}
}

func (e Opened) append(b []byte) []byte {
	b = e.Identity.append(append(b, `{"identity":`...))
	b = appendString(append(b, `,"route":`...), e.Route)
	b = appendString(append(b, `,"protocol":`...), e.Protocol)
	if e.Remote.IsValid() {
		b, _ = e.Remote.AppendText(append(b, `,"remote":"`...)) // it never fails
		b = append(b, '"')
	}
	for i, g := range e.Groups {
		if i == 0 {
			b = append(b, `,"groups":["`...)
		} else {
			b = append(b, `,"`...)
		}
		b = append(append(b, g.name...), '"') // a name has nothing to escape
	}
	if len(e.Groups) > 0 {
		b = append(b, ']')
	}
	if e.By != "" {
		b = appendString(append(b, `,"by":`...), e.By)
	}
	if e.Rule != "" {
		b = appendString(append(b, `,"rule":`...), e.Rule)
	}
	return append(b, '}')
}

// append appends what the journal keeps of an identity.
func (id *Identity) append(b []byte) []byte {
	b = append(b, '{')
	if id.Subject != "" {
		b = append(appendString(append(b, `"subject":`...), id.Subject), ',')
	}
	b = appendString(append(b, `"source":`...), id.Source)
	if id.Anonymous {
		b = append(b, `,"anonymous":true`...)
	}
	if !id.Expires.IsZero() {
		b = appendTime(append(b, `,"expires":`...), id.Expires)
	}
	if id.TokenID != "" {
		b = appendString(append(b, `,"token_id":`...), id.TokenID)
	}
	if !id.IssuedAt.IsZero() {
		b = appendTime(append(b, `,"issued_at":`...), id.IssuedAt)
	}
	return append(b, '}')
}

func (e Refused) append(b []byte) []byte {
	b = strconv.AppendInt(append(b, `{"status":`...), int64(e.Status), 10)
	b = appendString(append(b, `,"reason":`...), e.Reason)
	if e.Route != "" {
		b = appendString(append(b, `,"route":`...), e.Route)
	}
	if e.Remote.IsValid() {
		b, _ = e.Remote.AppendText(append(b, `,"remote":"`...)) // it never fails
		b = append(b, '"')
	}
	b = strconv.AppendUint(append(b, `,"count":`...), e.Count, 10)
	if e.By != "" {
		b = appendString(append(b, `,"by":`...), e.By)
	}
	return append(b, '}')
}

func appendGroup(b []byte, g Group) []byte {
	return append(append(append(b, `{"group":"`...), g.name...), `"}`...)
}

func appendTime(b []byte, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(b, '"'), time.RFC3339Nano), '"')
}

// appendString appends s as encoding/json writes it, which is asked where there is something to escape.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, err := json.Marshal(s)
			if err != nil { // a string never fails
				text = []byte(`""`)
			}
			return append(b, text...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendRaw appends valid JSON as encoding/json does: without white space, and with what HTML minds escaped.
func appendRaw(b []byte, raw json.RawMessage) []byte {
	var compact, escaped bytes.Buffer
	if err := json.Compact(&compact, raw); err != nil { // Check has seen that it is valid
		return append(b, raw...)
	}
	json.HTMLEscape(&escaped, compact.Bytes())
	return append(b, escaped.Bytes()...)
}
