package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unicode/utf8"
)

// ErrRecord is returned, wrapped with what is wrong, for a record that cannot be written or a text that is no record.
var ErrRecord = errors.New("malformed record")

// wireRecord is the JSON form of a Record. A field's name and meaning never change; later versions add fields.
// The pointers tell an absent field from a zero one.
type wireRecord struct {
	Version uint64          `json:"v"`
	Time    *time.Time      `json:"t"`
	Session *ID             `json:"s"`
	Seq     uint64          `json:"n"`
	Kind    Kind            `json:"k"`
	Event   json.RawMessage `json:"e"`
}

// UnmarshalJSON implements [json.Unmarshaler]; r keeps its value where that fails, with an error that wraps [ErrRecord].
//
// It is strict on what it knows: each of the six fields must be there and well-formed, and the event must pass
// [Record.Check]. It is tolerant of what a later version may add: fields that it does not know are ignored, an event of
// a kind that it does not know becomes [Unknown], and a record of a later version is read as far as it is known.
func (r *Record) UnmarshalJSON(b []byte) error {
	if !utf8.Valid(b) {
		return fmt.Errorf("%w: not UTF-8", ErrRecord)
	}
	var w wireRecord
	if err := json.Unmarshal(b, &w); err != nil {
		return fmt.Errorf("%w: %w", ErrRecord, err)
	}
	switch {
	case w.Version == 0:
		return fmt.Errorf("%w: no version", ErrRecord)
	case w.Time == nil:
		return fmt.Errorf("%w: no time", ErrRecord)
	case w.Session == nil:
		return fmt.Errorf("%w: no session", ErrRecord)
	case !isObject(w.Event):
		return fmt.Errorf("%w: the event is no object", ErrRecord)
	}
	e, err := decodeEvent(w.Kind, w.Event)
	if err != nil {
		return fmt.Errorf("%w: event %q: %w", ErrRecord, w.Kind, err)
	}
	v := Record{Time: *w.Time, Session: *w.Session, Seq: w.Seq, Event: e}
	if err := v.Check(); err != nil {
		return err
	}
	*r = v.Kept()
	return nil
}

// decodeEvent reads the event of kind k from the JSON object b, which an Unknown event keeps.
func decodeEvent(k Kind, b json.RawMessage) (Event, error) {
	switch k {
	case KindOpened:
		return decodeAs[Opened](b)
	case KindJoined:
		return decodeAs[Joined](b)
	case KindLeft:
		return decodeAs[Left](b)
	case KindRefreshed:
		return decodeAs[Refreshed](b)
	case KindClosed:
		return decodeAs[Closed](b)
	case KindRefused:
		return decodeAs[Refused](b)
	case KindNodeStarted:
		return decodeAs[NodeStarted](b)
	case KindNodeDraining:
		return decodeAs[NodeDraining](b)
	case KindNodeSealed:
		return decodeAs[NodeSealed](b)
	case KindGap:
		return decodeAs[Gap](b)
	default:
		return Unknown{Name: k, Data: b}, nil
	}
}

func decodeAs[E Event](b []byte) (Event, error) {
	var e E
	err := json.Unmarshal(b, &e)
	return e, err
}

// Kept returns r as every journal gives it back, which is as its JSON form reads: times in UTC, the identity without
// name, grants and claims. It shares nothing that can be changed with r, which must pass [Record.Check].
func (r Record) Kept() Record {
	r.Time = r.Time.UTC()
	switch e := r.Event.(type) {
	case Opened:
		who := *e.Identity
		who.Name, who.Grants, who.Claims = "", nil, nil
		who.Expires, who.IssuedAt = who.Expires.UTC(), who.IssuedAt.UTC()
		e.Identity, e.Groups = &who, append([]Group(nil), e.Groups...) // nil where there are none
		r.Event = e
	case Refreshed:
		e.Expires = e.Expires.UTC()
		r.Event = e
	case Gap:
		e.Since = e.Since.UTC()
		r.Event = e
	case Unknown:
		e.Data = bytes.Clone(e.Data)
		r.Event = e
	}
	return r
}

// Check reports what makes r unfit to be written, so that whatever is written can be read: no event, no sequence, an
// event without what it is about, or a time that RFC 3339 cannot say. The error wraps [ErrRecord]. Journals check each
// record before they keep it.
func (r Record) Check() error {
	if r.Event == nil {
		return fmt.Errorf("%w: no event", ErrRecord)
	}
	if wrong := r.wrong(); wrong != "" {
		return fmt.Errorf("%w: %s %d of %s: %s", ErrRecord, r.Event.Kind(), r.Seq, r.Session, wrong)
	}
	return nil
}

// wrong says what Check found, or "".
func (r Record) wrong() string {
	if r.Seq == 0 {
		return "no sequence"
	}
	if !writable(r.Time) {
		return "the time is out of range"
	}
	switch e := r.Event.(type) {
	case Opened:
		return e.wrong()
	case Joined:
		return wrongGroup(e.Group)
	case Left:
		return wrongGroup(e.Group)
	case Refreshed:
		if !writable(e.Expires) {
			return "the time of the end is out of range"
		}
	case Refused:
		return wrongPrefix(e.Remote)
	case Gap:
		if !writable(e.Since) {
			return "the time since when is out of range"
		}
	case Unknown:
		switch {
		case e.Name == "":
			return "no kind"
		case slices.Contains(Kinds(), e.Name):
			return "an unknown event with the name of a known one"
		case !isObject(e.Data) || !json.Valid(e.Data) || !utf8.Valid(e.Data):
			return "the event is no object"
		}
	}
	return ""
}

func (e Opened) wrong() string {
	switch {
	case e.Identity == nil:
		return "no identity"
	case !writable(e.Identity.Expires) || !writable(e.Identity.IssuedAt):
		return "a time of the identity is out of range"
	}
	for _, g := range e.Groups {
		if wrong := wrongGroup(g); wrong != "" {
			return wrong
		}
	}
	return wrongPrefix(e.Remote)
}

func wrongGroup(g Group) string {
	if g.IsZero() {
		return "no group"
	}
	return ""
}

func wrongPrefix(p netip.Prefix) string {
	if !p.IsValid() && p != (netip.Prefix{}) {
		return "an invalid remote network"
	}
	return ""
}

// writable reports whether RFC 3339 can say t in UTC.
func writable(t time.Time) bool {
	y := t.UTC().Year()
	return 0 <= y && y <= 9999
}

func isObject(b []byte) bool { return bytes.HasPrefix(b, []byte("{")) }
