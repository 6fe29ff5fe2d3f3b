package bus

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fairlead-ws/fairlead/session"
)

// ErrCluster is returned, wrapped with what is wrong, for a text that cannot name a cluster.
var ErrCluster = errors.New("invalid cluster name")

// maxClusterName is the longest name of a cluster, in bytes.
const maxClusterName = 32

// defaultCluster is the name that the zero Cluster stands for.
const defaultCluster = "fairlead"

// Cluster is the checked name of a set of nodes that share their groups; clusters with other names can share a NATS.
// Only [ParseCluster] makes one; the zero Cluster is "fairlead". Clusters are comparable.
type Cluster struct{ name string }

// ParseCluster checks s, 1 to 32 characters of A-Z, a-z, 0-9, underscore and hyphen, and returns it as a Cluster.
// The error wraps [ErrCluster] and says what a name may be.
func ParseCluster(s string) (Cluster, error) {
	if s == "" || len(s) > maxClusterName {
		return Cluster{}, fmt.Errorf("%w: it has %d bytes; want 1 to %d", ErrCluster, len(s), maxClusterName)
	}
	for i := range len(s) {
		c := s[i]
		if ('a' > c || c > 'z') && ('A' > c || c > 'Z') && ('0' > c || c > '9') && c != '_' && c != '-' {
			return Cluster{}, fmt.Errorf("%w: %q has %q; want only A-Z a-z 0-9 _ -", ErrCluster, s, c)
		}
	}
	if s == defaultCluster {
		return Cluster{}, nil
	}
	return Cluster{name: s}, nil
}

// String returns the name.
func (c Cluster) String() string {
	if c.name == "" {
		return defaultCluster
	}
	return c.name
}

// Subject returns the NATS subject of g in the cluster. It alone makes subjects: of checked names, so that no wildcard
// and no further token can come from a group's name. The zero Group has no subject: Subject returns "".
func Subject(c Cluster, g session.Group) string {
	if g.IsZero() {
		return ""
	}
	return subjectPrefix(c) + token(g)
}

// subjectPrefix is what the subjects of all groups begin with.
func subjectPrefix(c Cluster) string { return "fl." + c.String() + ".g." }

// token returns the group's name as one token of a subject: the dot, which would begin another, is written as a tilde,
// which no group's name has.
func token(g session.Group) string { return strings.ReplaceAll(g.String(), ".", "~") }

// parseSubject is the inverse of [Subject], for the prefix of one cluster. The group shares the memory of the subject.
func parseSubject(prefix, subject string) (session.Group, error) {
	rest, ok := strings.CutPrefix(subject, prefix)
	if !ok {
		return session.Group{}, errors.New("subject of another kind")
	}
	if strings.Contains(rest, ".") {
		return session.Group{}, errors.New("more than one token")
	}
	return session.ParseGroup(strings.ReplaceAll(rest, "~", "."))
}
