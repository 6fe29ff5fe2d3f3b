package authn

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/fairlead-ws/fairlead/session"
)

// errOver says that an answer is about a credential that has ended.
var errOver = errors.New("it has expired")

var (
	errNoObject  = errors.New("the answer is no JSON object")
	errNoSubject = errors.New(`the answer has no subject; want {"subject": "42"}, or 204 for a client without a credential`)
)

// readIdentity reads what the application says of a client. Members that are not known are left alone. The error is errOver,
// or says what is wrong with the answer and nothing of what it holds.
func readIdentity(body []byte, now time.Time) (*session.Identity, error) {
	var c claims
	if !c.parse(body) {
		return nil, errNoObject
	}
	subject, err := c.text("subject")
	if err != nil {
		return nil, err
	}
	if subject == "" {
		return nil, errNoSubject
	}
	id := &session.Identity{Subject: subject}
	if id.Name, err = c.text("name"); err != nil {
		return nil, err
	}
	if id.Expires, err = c.end(); err != nil {
		return nil, err
	}
	if !id.Expires.IsZero() && !now.Before(id.Expires) {
		return nil, errOver
	}
	if id.Grants, err = c.grants("groups"); err != nil {
		return nil, err
	}
	if id.Claims, err = c.object("claims"); err != nil {
		return nil, err
	}
	return id, nil
}

// text reads a member that is a text or an integer, "" where there is none.
func (c *claims) text(name string) (string, error) {
	b, err := c.appendText(nil, name)
	return string(b), err
}

// end reads "expires": Unix seconds, or a time of RFC 3339; zero where there is none.
func (c *claims) end() (time.Time, error) {
	raw, ok := c.get("expires")
	if !ok || string(raw) == "null" {
		return time.Time{}, nil
	}
	if raw[0] != '"' {
		d, err := c.date(&c.exp, "expires")
		if err != nil {
			return time.Time{}, err
		}
		return d.Time, nil
	}
	text, err := c.text("expires")
	if err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, &claimError{"expires", "is neither a number of seconds nor a time such as 2030-01-31T12:00:00Z"}
	}
	if t.Unix() > maxYear9999 || t.Unix() < minYear0 {
		return time.Time{}, &claimError{"expires", "is beyond the years 0 to 9999"}
	}
	return t.UTC(), nil
}

// object reads a member that is a JSON object; nil where there is none. Its numbers are of type [json.Number].
func (c *claims) object(name string) (map[string]any, error) {
	raw, ok := c.get(name)
	if !ok || string(raw) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, &claimError{name, "is no object"}
	}
	return v, nil
}
