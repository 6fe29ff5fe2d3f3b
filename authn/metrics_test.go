package authn

import (
	"maps"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/fairlead-ws/fairlead/session"
)

func TestAuthSeconds(t *testing.T) {
	r := prometheus.NewRegistry()
	one := must(NewJWT(JWTConfig{Name: "one", Secret: []byte(fixtureSecret), Registerer: r, Now: fixedNow}))
	must(NewJWT(JWTConfig{Name: "two", Secret: []byte(fixtureSecret), Registerer: r, Now: fixedNow}))
	jwts := loadFixtures(t, "fixtures.json").JWTs
	for _, name := range []string{"valid", "expired", "empty"} {
		_, _ = verify(t, one, jwts[name].Token)
	}
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	families := must(r.Gather())
	if len(families) != 1 || families[0].GetName() != "fairlead_auth_seconds" || families[0].GetType() != dto.MetricType_HISTOGRAM {
		t.Fatalf("got %v", families)
	}
	counts := map[string]uint64{}
	for _, m := range families[0].GetMetric() {
		if l := m.GetLabel(); len(l) != 1 || l[0].GetName() != "verifier" {
			t.Errorf("labels %v", l)
		}
		counts[m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
		if sum := m.GetHistogram().GetSampleSum(); sum < 0 || sum > 60 {
			t.Errorf("the sum is %v s", sum)
		}
	}
	if counts["one"] != 3 || counts["two"] != 0 || len(counts) != 2 {
		t.Errorf("got %v, want one: 3, two: 0", counts)
	}
	if s := families[0].String(); strings.Contains(s, "alice") || strings.Contains(s, "eyJ") {
		t.Errorf("a metric holds what a token holds: %s", s)
	}
}

// An authorizer's questions are timed, and what is answered without one is not.
func TestDecisionSeconds(t *testing.T) {
	r := prometheus.NewRegistry()
	app := newApp(t, says(204, ""))
	sql := newSQL(t, SQLConfig{Name: "rooms", DSN: sqliteDSN, Query: gateQuery, Params: map[string]string{"user": "int", "id": "int"}, Registerer: r})
	asks := must(NewCallbackAuthorizer(CallbackConfig{Name: "app", URL: app.URL, Registerer: r}))
	for _, group := range []string{"app_1234", "app_2", "app_none"} { // the last is no int
		g := must(session.ParseGroup(group))
		q := &Question{Identity: &session.Identity{Subject: "1"}, Group: g, Params: groupParams(g), Request: &Request{Path: []byte("/")}}
		_, _ = sql.Authorize(t.Context(), q)
		_, _ = asks.Authorize(t.Context(), q)
	}
	counts := map[string]uint64{}
	for _, f := range must(r.Gather()) {
		for _, m := range f.GetMetric() {
			if f.GetName() == "fairlead_decision_seconds" {
				counts[m.GetLabel()[0].GetName()+" "+m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	if want := map[string]uint64{"authorizer rooms": 2, "authorizer app": 3}; !maps.Equal(counts, want) {
		t.Errorf("got %v, want %v", counts, want)
	}
	if err := asks.Close(); err != nil {
		t.Error(err)
	}
}
