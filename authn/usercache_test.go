package authn

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// table is a UserFinder with users by name, whose answers take a millisecond.
type table struct {
	mu     sync.Mutex
	users  map[string]User
	err    error
	asked  int
	closed bool
}

func (t *table) ByField(ctx context.Context, value string) (User, bool, error) {
	select {
	case <-time.After(time.Millisecond):
	case <-ctx.Done():
		return User{}, false, ctx.Err()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked++
	u, ok := t.users[value]
	return u, ok, t.err
}

func (t *table) Close() error {
	t.closed = true
	return nil
}

func (t *table) set(name string, u User, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.users[name], t.err = u, err
}

func (t *table) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asked
}

func newTestUserCache(t *testing.T, of *table) *UserCache {
	t.Helper()
	c := must(NewUserCache(UserCacheConfig{Name: "jwt", Users: of, TTL: 30 * time.Second, NegativeTTL: 2 * time.Second}))
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), c.Close()); err != nil || !of.closed {
			t.Errorf("closed %v, %v", of.closed, err)
		}
	})
	return c
}

func TestUserCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := &table{users: map[string]User{
			"alice": {ID: "1", Name: "alice", Password: "pbkdf2$S3CRET", Active: true}, "bob": {ID: "2", Name: "bob"},
		}}
		c := newTestUserCache(t, of)
		ask := func(name string, want User, there bool, asked int) {
			t.Helper()
			u, ok, err := c.ByField(t.Context(), name)
			if err != nil || ok != there || u != want || of.count() != asked {
				t.Errorf("%s: got %+v, %v, %v after %d questions, want %+v, %v after %d", name, u, ok, err, of.count(), want, there, asked)
			}
		}
		alice, bob := User{ID: "1", Name: "alice", Active: true}, User{ID: "2", Name: "bob"} // nobody gets the password
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() { ask("alice", alice, true, 1) })
		}
		wg.Wait()
		ask("bob", bob, true, 2)
		ask("bob", bob, true, 2)
		ask("eve", User{}, false, 3)
		ask("eve", User{}, false, 3)
		ask("Alice", User{}, false, 4)
		time.Sleep(3 * time.Second) // who is not let in is looked up again soon
		ask("alice", alice, true, 4)
		ask("bob", bob, true, 5)
		ask("eve", User{}, false, 6)

		of.set("alice", User{ID: "1", Name: "alice"}, nil)
		c.Apply(Change{Kind: ChangeToken})
		c.Apply(Change{Kind: ChangeSession})
		c.Apply(Change{Kind: ChangeUser, User: "7"})
		ask("alice", alice, true, 6)
		c.Apply(Change{Kind: ChangeUser, User: "1"})
		ask("alice", User{ID: "1", Name: "alice"}, true, 7)
		of.set("alice", alice, nil)
		c.Apply(Change{Kind: ChangeAll})
		ask("alice", alice, true, 8)

		of.set("alice", User{ID: "1", Name: "alice"}, nil)
		time.Sleep(10 * time.Second)
		if u, _, _ := c.ByField(WithMaxAge(t.Context(), 5*time.Second), "alice"); u.Active {
			t.Error("a recheck was answered with what was so ten seconds ago")
		}
		of.set("alice", alice, nil)
		time.Sleep(3 * time.Second)
		ask("alice", alice, true, 10)
		c.SetCap(time.Second)
		time.Sleep(2 * time.Second)
		ask("alice", alice, true, 11)
		c.SetCap(0)
		time.Sleep(29 * time.Second)
		ask("alice", alice, true, 11)
		time.Sleep(2 * time.Second)
		ask("alice", alice, true, 12)
	})
}

// TestUserCacheUnavailable: that nobody could say is not kept, and one who gives up spoils nothing for the others.
func TestUserCacheUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		of := &table{users: map[string]User{"alice": {ID: "1", Active: true}}, err: errors.New("no route")}
		c := newTestUserCache(t, of)
		v := newTestJWT(t, func(config *JWTConfig) { config.Users = c })
		token := signed(`{"exp":3976214400,"user_id":"alice"}`)
		_, err := verify(t, v, token)
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable)
		if err := v.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "no route") {
			t.Errorf("Check: got %v", err)
		}
		of.set("alice", User{ID: "1", Active: true}, nil)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = v.Verify(ctx, Credential{Value: []byte(token)})
		wantRefusal(t, err, ErrUnavailable, ReasonVerifierUnavailable)
		id, err := verify(t, v, token)
		if err != nil || id.Subject != "1" || of.count() != 3 {
			t.Errorf("got %+v, %v after %d questions, want 3", id, err, of.count())
		}
	})
}

func TestNewUserCacheRefuses(t *testing.T) {
	for _, c := range []UserCacheConfig{{}, {Name: "no name", Users: &table{}}, {Users: &table{}, TTL: -1}} {
		if _, err := NewUserCache(c); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}
