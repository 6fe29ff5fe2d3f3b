package authn

// Whole takes the whole request for the credential, for verifiers that look for themselves, such as a callback. It is
// always there: what [Chain.Present] says of it is up to the verifier.
type Whole struct{}

// NewWhole returns the extractor.
func NewWhole() *Whole { return &Whole{} }

// Extract implements [Extractor]. The credential has no value; the [Chain] gives it the request.
func (*Whole) Extract(*Request) (Credential, error) { return Credential{From: "request"}, nil }
