package authn

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
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
