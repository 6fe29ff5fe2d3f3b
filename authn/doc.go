// Package authn decides who a WebSocket client is and whether it may come in, while the handshake is still HTTP.
//
// Where a credential is and whether it is good are two questions. An [Extractor] ([Header], [Cookie], [Query],
// [Subprotocol], [Whole]) finds the bytes in a [Request]; a [Verifier] ([JWT], [Issuers], [DRFToken], [DjangoSession],
// [Callback], [Tickets]) turns them into a [session.Identity]; a [Chain] joins the two, and the first credential that is
// present decides. An [OriginPolicy] says which web pages may open a connection, an [Authorizer] ([Grants], [SQL],
// [Signed], [CallbackAuthorizer]) which groups an identity may join. An [Issuer] makes the tokens that a [JWT] accepts.
//
// A [Cache] remembers what a verifier said, a [DecisionCache] what an authorizer did, until a [Change] says that it may be
// untrue.
//
// It guarantees that absent, bad and broken stay three answers ([ErrAbsent], [ErrRejected], [ErrUnavailable]): a dead
// database never makes an anonymous user and never a refusal for good. It guarantees that no credential is in an error, a
// metric or an identity, that what a stranger sends is read in time linear in its length, and that an identity keeps
// nothing of the request alive.
//
// It leaves to others: parsing HTTP and answering it (package gateway), and what an absent or rejected credential means on a
// route. It accepts whom Django accepts; where it differs on purpose, the type's comment says so.
package authn
