package gateway

import "github.com/fairlead-ws/fairlead/authn"

// reason says in one word why a handshake ended as it did: the label of a metric, the word of a refused event. The set is
// closed. A reason has one status, and its name never changes its meaning.
type reason uint8

// The reasons of the gateway itself, and behind them those of package authn.
const (
	reasonOK         reason = iota // accepted
	reasonClientGone               // the client left before its head was complete: nobody is there to answer
	reasonTLS                      // no handshake of TLS: an alert was the answer, if there could be one
	reasonPlainHTTP
	reasonTimeout
	reasonCrowded
	reasonHeadTooLarge
	reasonHTTPVersion
	reasonMethod
	reasonProxyHeader
	reasonRequestLine
	reasonHeader
	reasonDuplicateHeader
	reasonHost
	reasonBody
	reasonNotUpgrade
	reasonWebSocketVersion
	reasonKey
	reasonPath
	reasonGroup
	reasonNoRoute
	reasonAttempts
	reasonRejections
	reasonAddressFull
	reasonUserFull
	reasonFull
	reasonBusy
	reasonDraining
	reasonUnavailable
	reasonInternal
	reasonPanic

	reasonNoCredential
	reasonMalformed
	reasonUnknownToken
	reasonInactiveUser
	reasonUnknownUser
	reasonExpired
	reasonUsed
	reasonNotYetValid
	reasonBadSignature
	reasonBadAlgorithm
	reasonBadClaims
	reasonVerifierUnavailable
	reasonOrigin
	reasonForbidden
	reasonBadParameter
	reasonAuthorizerUnavailable

	numReasons
)

// String returns the word.
func (r reason) String() string { return answers[r].name }

// fault reports whether something went wrong here, and who is on call wants to know.
func (r reason) fault() bool {
	switch r {
	case reasonInternal, reasonPanic, reasonUnavailable, reasonVerifierUnavailable, reasonAuthorizerUnavailable:
		return true
	}
	return false
}

// answer is what a client is told for a reason.
type answer struct {
	name   string
	status int
	header string // header lines beyond those that every refusal has, each with its CR LF
	retry  int    // Retry-After in seconds, at least; 0: none
	text   string // what is wrong and what would be right; "" where each error of this reason has its own
}

// On a refusal with 426 the Connection field must name Upgrade (RFC 9110 section 7.8); see refusal.append.
const upgradeHeader = "Upgrade: websocket\r\n"

// rejectedText is the one answer to every credential that is no good: a stranger does not learn from it whether a token was
// ever known, whether its user exists, or whose signature it has. The metric, the journal and the log have the reason.
const rejectedText = "the credential is not accepted: check how it is sent, or get a new one"

var answers = [numReasons]answer{
	reasonOK:         {name: "ok", status: 101},
	reasonClientGone: {name: "client_gone"},
	reasonTLS:        {name: "tls"},
	reasonPlainHTTP: {
		name: "plain_http", status: 400,
		text: "this port speaks TLS: connect with wss://",
	},
	reasonTimeout: {
		name: "timeout", status: 408,
		text: "the request did not come in time: send the whole head, up to the empty line, at once",
	},
	reasonCrowded: {
		name: "crowded", status: 408,
		text: "the request was slow to come while many others connected: send the whole head, up to the empty line, at once",
	},
	reasonHeadTooLarge: {name: "head_too_large", status: 431},
	reasonHTTPVersion: {
		name: "http_version", status: 505,
		text: "a WebSocket handshake is HTTP/1.1: a proxy in front must speak it to this server (nginx: proxy_http_version 1.1)",
	},
	reasonMethod: {
		name: "method", status: 405, header: "Allow: GET\r\n",
		text: "a WebSocket handshake is a GET request",
	},
	reasonProxyHeader: {
		name: "proxy_header", status: 400,
		text: "the connection must begin with a header of the PROXY protocol, version 1 or 2, before the request: the proxy in front must send one",
	},
	reasonRequestLine:     {name: "request_line", status: 400},
	reasonHeader:          {name: "header", status: 400},
	reasonDuplicateHeader: {name: "duplicate_header", status: 400},
	reasonHost:            {name: "host", status: 400},
	reasonBody: {
		name: "body", status: 400,
		text: "a WebSocket handshake has no body: send neither Transfer-Encoding nor a Content-Length other than 0",
	},
	reasonNotUpgrade: {
		name: "not_upgrade", status: 426, header: upgradeHeader,
		text: "this port speaks WebSocket only: send Connection: Upgrade and Upgrade: websocket (a proxy in front must pass both on)",
	},
	reasonWebSocketVersion: {
		name: "websocket_version", status: 426, header: upgradeHeader + "Sec-WebSocket-Version: 13\r\n",
		text: "the WebSocket version must be 13: send Sec-WebSocket-Version: 13",
	},
	reasonKey: {
		name: "key", status: 400,
		text: "Sec-WebSocket-Key must be 16 random bytes in base64",
	},
	reasonPath: {name: "path", status: 400},
	reasonGroup: {
		name: "group", status: 400,
		text: "the path does not name a group: a group's name is 1 to 99 characters of A-Z a-z 0-9 _ . -",
	},
	reasonNoRoute: {
		name: "no_route", status: 404,
		text: "no route has this path: see the routes in the server's configuration",
	},
	reasonAttempts: {
		name: "too_many_attempts", status: 429, retry: 1,
		text: "too many connections in a second from this address: wait before trying again, and longer each time",
	},
	reasonRejections: {
		name: "too_many_rejections", status: 429, retry: 15,
		text: "too many bad credentials in a minute from this address: get a good one, and wait before trying again",
	},
	reasonAddressFull: {
		name: "address_full", status: 429, retry: 5,
		text: "this address has all the connections that it may have: close one, or try again later",
	},
	reasonUserFull: {
		name: "user_full", status: 429, retry: 5,
		text: "this user has all the connections that it may have: close one, or try again later",
	},
	reasonFull: {
		name: "full", status: 503, retry: 5,
		text: "the server has all the connections that it can hold: try again later",
	},
	reasonBusy: {
		name: "busy", status: 503, retry: 2,
		text: "the server has all the handshakes that it can do at once: try again later",
	},
	reasonDraining: {
		name: "draining", status: 503, retry: 1,
		text: "the server is stopping: try again, another one will answer",
	},
	reasonUnavailable: {
		name: "unavailable", status: 503, retry: 5,
		text: "the server cannot open sessions at present: try again later",
	},
	reasonInternal: {
		name: "internal", status: 500,
		text: "the server failed: its log says why",
	},
	reasonPanic: {
		name: "panic", status: 500,
		text: "the server failed: its log says why",
	},

	reasonNoCredential: {
		name: string(authn.ReasonNoCredential), status: 401,
		text: "no credential came: send one where this route looks for it",
	},
	reasonMalformed:    {name: string(authn.ReasonMalformed), status: 401, text: rejectedText},
	reasonUnknownToken: {name: string(authn.ReasonUnknownToken), status: 401, text: rejectedText},
	reasonInactiveUser: {name: string(authn.ReasonInactiveUser), status: 401, text: rejectedText},
	reasonUnknownUser:  {name: string(authn.ReasonUnknownUser), status: 401, text: rejectedText},
	reasonExpired:      {name: string(authn.ReasonExpired), status: 401, text: rejectedText},
	reasonUsed:         {name: string(authn.ReasonUsed), status: 401, text: rejectedText},
	reasonNotYetValid:  {name: string(authn.ReasonNotYetValid), status: 401, text: rejectedText},
	reasonBadSignature: {name: string(authn.ReasonBadSignature), status: 401, text: rejectedText},
	reasonBadAlgorithm: {name: string(authn.ReasonBadAlgorithm), status: 401, text: rejectedText},
	reasonBadClaims:    {name: string(authn.ReasonBadClaims), status: 401, text: rejectedText},

	reasonVerifierUnavailable: {
		name: string(authn.ReasonVerifierUnavailable), status: 503, retry: 2,
		text: "the credential cannot be verified at present: try again later",
	},
	reasonOrigin: {
		name: string(authn.ReasonOrigin), status: 403,
		text: "this route does not serve pages of this origin: the server's configuration lists those it does",
	},
	reasonForbidden: {
		name: string(authn.ReasonForbidden), status: 403,
		text: "this identity may not join the group",
	},
	reasonBadParameter: {
		name: string(authn.ReasonBadParameter), status: 403,
		text: "this identity may not join the group: a part of its name is not of the kind that permissions are kept for",
	},
	reasonAuthorizerUnavailable: {
		name: string(authn.ReasonAuthorizerUnavailable), status: 503, retry: 2,
		text: "the permission cannot be looked up at present: try again later",
	},
}

// byName finds the reasons that package authn has too. It is fixed.
var byName = func() map[string]reason {
	m := make(map[string]reason, numReasons)
	for r := range numReasons {
		m[answers[r].name] = r
	}
	return m
}()

// reasonError is a refusal that this package itself decides on. The set is closed: all are below.
type reasonError struct {
	reason reason
	text   string // for the client; "" for the reason's own
}

// Error returns the text.
func (e *reasonError) Error() string {
	if e.text == "" {
		return answers[e.reason].text
	}
	return e.text
}

// What the head of a request can be refused for.
var (
	errGone        = &reasonError{reasonClientGone, "the client left before the end of its request"}
	errPlainHTTP   = &reasonError{reason: reasonPlainHTTP}
	errHeadTimeout = &reasonError{reason: reasonTimeout}
	errCrowded     = &reasonError{reason: reasonCrowded}
	errBusy        = &reasonError{reason: reasonBusy}
	errDraining    = &reasonError{reason: reasonDraining}
	errAttempts    = &reasonError{reason: reasonAttempts}
	errRejections  = &reasonError{reason: reasonRejections}

	errHeadTooLarge  = &reasonError{reasonHeadTooLarge, "the request's head is too large: send fewer or smaller header fields"}
	errTooManyFields = &reasonError{reasonHeadTooLarge, "the request has too many header fields: send at most 128"}

	errProxyHeader = &reasonError{reason: reasonProxyHeader}
	errRequestLine = &reasonError{reasonRequestLine, "this is no HTTP request: begin with a line like GET /path HTTP/1.1"}
	errHTTPVersion = &reasonError{reason: reasonHTTPVersion}
	errMethod      = &reasonError{reason: reasonMethod}
	errTarget      = &reasonError{reasonRequestLine, "the request's target must be a path that begins with a slash"}
	errTargetByte  = &reasonError{reasonRequestLine, "the request's target has a byte that belongs into no URL: percent-encode it"}
	errPathEscape  = &reasonError{reasonPath, "the path has a '%' without two hexadecimal digits: write %25 for the sign itself"}
	errPathByte    = &reasonError{reasonPath, "the path has an encoded slash or NUL, which no part of a path can hold"}

	errBareLF           = &reasonError{reasonHeader, "a line ends in a bare LF: end each line in CR LF"}
	errFieldName        = &reasonError{reasonHeader, "a header line has no name that is a token, with a colon behind it"}
	errFieldValue       = &reasonError{reasonHeader, "a header value has a control byte: only visible characters, spaces and tabs may be in it"}
	errFolded           = &reasonError{reasonHeader, "a header line begins with a space: write each header field on one line"}
	errSpaceBeforeColon = &reasonError{reasonHeader, "a header name has a space behind it: the colon must follow at once"}
	errSubprotocol      = &reasonError{reasonHeader, "Sec-WebSocket-Protocol must be a list of tokens with commas between them"}
	errTwice            = &reasonError{
		reasonDuplicateHeader,
		"Host, Origin, Authorization, Cookie, Sec-WebSocket-Key and Sec-WebSocket-Version may come only once each",
	}
	errNoHost = &reasonError{reasonHost, "the request has no Host: send the host that the client connects to"}
	errHost   = &reasonError{reasonHost, "Host must be a host name or an address, with or without a port"}
	errBody   = &reasonError{reason: reasonBody}

	errNotUpgrade       = &reasonError{reason: reasonNotUpgrade}
	errWebSocketVersion = &reasonError{reason: reasonWebSocketVersion}
	errKey              = &reasonError{reason: reasonKey}
)

// What a request without a fault can be refused for.
var (
	errNoRoute    = &reasonError{reason: reasonNoRoute}
	errGroup      = &reasonError{reason: reasonGroup}
	errNoCategory = &reasonError{reasonGroup, "the group in the path has no category: write CATEGORY_ID"}
)
