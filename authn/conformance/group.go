package conformance

import (
	"cmp"
	"errors"
	"fmt"
)

// cast are the members of app_1234 in a scene: two users, the first of them twice.
type cast struct{ first, second, other *peer }

// together brings the cast into the group, and the scene to its end.
func (a *Actor) together(scene func(*cast) (string, error)) (answer string, err error) {
	c := &cast{}
	for _, p := range []struct {
		peer  **peer
		token string
	}{{&c.first, a.Tokens[0]}, {&c.second, a.Tokens[0]}, {&c.other, a.Tokens[1]}} {
		if *p.peer, err = at(a.Node, "/ws/app_1234?token="+p.token); err != nil {
			return "", err
		}
		defer (*p.peer).close()
	}
	return scene(c)
}

// said is a scene in which the first says something, and one of the cast is asked what it heard. What is said is the text
// where the case does not tell.
func said(text string, who func(*cast) *peer) func(*Actor, []string) (string, error) {
	return func(a *Actor, _ []string) (string, error) {
		return a.together(func(c *cast) (string, error) {
			if err := c.first.text(cmp.Or(a.heard, text)); err != nil {
				return "", err
			}
			return who(c).frames(1)
		})
	}
}

// elsewhere: a member of app_1 hears nothing of app_1234, but for what is then said in app_1.
func (a *Actor) elsewhere([]string) (string, error) {
	return a.together(func(c *cast) (string, error) {
		p, err := at(a.Node, "/ws/app_1?token="+a.Tokens[0])
		if err != nil {
			return "", err
		}
		defer p.close()
		if err := c.first.text("one"); err != nil {
			return "", err
		}
		if heard, err := c.other.frames(1); err != nil || heard != "text:one" { // it has been delivered
			return heard, err
		}
		if err := p.text("mark"); err != nil {
			return "", err
		}
		heard, err := p.frames(1)
		if heard == "text:mark" {
			heard = "nothing"
		}
		return heard, err
	})
}

// burst: so many texts at once arrive in order.
func (a *Actor) burst(m []string) (string, error) {
	n := number(m[1])
	return a.together(func(c *cast) (string, error) {
		for i := range n {
			if err := c.first.text(fmt.Sprint(i)); err != nil {
				return "", err
			}
		}
		for i := range n {
			heard, err := c.other.frames(1)
			if err != nil || heard != fmt.Sprintf("text:%d", i) {
				return heard, err
			}
		}
		return "in order", nil
	})
}

// vanished: a member is gone without a word, and the others go on.
func (a *Actor) vanished([]string) (string, error) {
	return a.together(func(c *cast) (string, error) {
		c.second.close()
		if err := c.first.text(cmp.Or(a.heard, "after")); err != nil {
			return "", err
		}
		return c.other.frames(1)
	})
}

// responseHeaders: what stands in the answer to a handshake that is let in.
func (a *Actor) responseHeaders([]string) (string, error) {
	p, err := at(a.Node, "/echo")
	if err != nil {
		return "", err
	}
	defer p.close()
	if p.head.Header.Get("Sec-WebSocket-Accept") != "BACScCJPNqyz+UBoqMH89VmURoA=" {
		return "", errors.New("Sec-WebSocket-Accept is not what RFC 6455 section 4.2.2 makes of the key: " + p.head.Header.Get("Sec-WebSocket-Accept"))
	}
	return headers(p.head.Header.Get("Upgrade"), p.head.Header.Get("Connection")), nil
}
