//go:build e2e

package authn

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkDRFTokenPostgresTogether has many callers at once, each with another key, as in a storm: what waits for an answer is
// asked for together. keys/query tells how many.
func BenchmarkDRFTokenPostgresTogether(b *testing.B) {
	const people = 4096
	dsn := postgresFixture(b)
	execute(b, dsn, fmt.Sprintf(`INSERT INTO public.auth_user
		SELECT i, '!', NULL, false, 'user' || i, '', '', '', false, true, now() FROM generate_series(1000, %d) i;
		INSERT INTO public.authtoken_token SELECT lpad(i::text, 40, '0'), now(), i FROM generate_series(1000, %[1]d) i`, 999+people))
	r := prometheus.NewRegistry()
	v := newDRFToken(b, DRFTokenConfig{DSN: dsn, Registerer: r})
	var next atomic.Int64
	b.SetParallelism(512)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			key := fmt.Sprintf("%040d", 1000+next.Add(1)%people)
			if _, err := v.Verify(b.Context(), Credential{From: "header", Value: []byte(key)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	var queries float64
	for _, f := range must(r.Gather()) {
		if f.GetName() == "fairlead_auth_queries_total" {
			for _, m := range f.GetMetric() {
				queries += m.GetCounter().GetValue()
			}
		}
	}
	if queries > 0 {
		b.ReportMetric(float64(b.N)/queries, "keys/query")
	}
}
