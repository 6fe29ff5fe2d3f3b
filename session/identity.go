package session

import "time"

// Identity says who a client is and what it may do, as a verifier found it. It is made once, before the connection's
// actor, and never changed: share the pointer freely.
//
// Its JSON form, which goes into the journal, has no name, claims or grants: the journal keeps opaque ids, not personal data.
type Identity struct {
	// Subject is the user's primary key as text, whatever the credential was. Empty only for an anonymous identity.
	Subject string `json:"subject,omitempty"`
	// Name is the user name for people, "" where the source has none.
	Name string `json:"-"`
	// Source is the name of the verifier that decided, from the configuration; "anonymous" for an anonymous identity.
	Source string `json:"source"`
	// Anonymous is true for a client that the route let in without a credential.
	Anonymous bool `json:"anonymous,omitempty"`
	// Expires is when the credential ends; the connection is closed with 4401 then. Zero: it does not.
	// A time past the year 9999 cannot be written to the journal (see Record.Check): verifiers leave Expires zero then.
	Expires time.Time `json:"expires,omitzero"`
	// TokenID is the credential's own id (the JWT claim jti), never the credential. "" where it has none.
	TokenID string `json:"token_id,omitempty"`
	// IssuedAt is when the credential was issued (the JWT claim iat). Zero where it does not say.
	IssuedAt time.Time `json:"issued_at,omitzero"`
	// Grants are the groups that the credential itself allows: exact names, or with one trailing * ("app_*").
	Grants []string `json:"-"`
	// Claims are those claims of a JWT that the configuration asked to keep, for Handlers. Nil where there are none.
	Claims map[string]any `json:"-"`
}

// until returns the identity with another end: id itself, where it has that one, or is nil.
func (id *Identity) until(expires time.Time) *Identity {
	if id == nil || id.Expires.Equal(expires) {
		return id
	}
	other := *id
	other.Expires = expires
	return &other
}

// AnonymousSource is the Source of an anonymous identity.
const AnonymousSource = "anonymous"

// anonymous is shared by all: it is never changed.
var anonymous = Identity{Source: AnonymousSource, Anonymous: true}

// Anonymous returns the identity of a client without a credential.
func Anonymous() *Identity { return &anonymous }
