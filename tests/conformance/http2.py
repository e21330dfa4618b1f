"""Requirements of RFC 9113 (HTTP/2) and RFC 7541 (HPACK), each checked on a connection of its own against a real qfs-server.

Frames and header blocks are made here byte by byte, so that they may be wrong. Needs nothing but Python. Run by
scripts/http2-conformance.sh.
"""

import contextlib
import socket
import ssl
import struct

from server import run

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, WITH_PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL, INTERNAL, FLOW_CONTROL, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_STREAMS, INITIAL_WINDOW, MAX_FRAME, MAX_HEADERS = range(1, 7)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# The server answers at once or never; this is for a machine that is busy.
PATIENCE = 10


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def settings(*pairs):
    return frame(SETTINGS, payload=b"".join(struct.pack(">HI", *pair) for pair in pairs))


def literal(name, value):
    """A field that is written out and not kept (RFC 7541 §6.2.2)."""
    assert len(name) < 127 and len(value) < 127
    return bytes([0, len(name)]) + name + bytes([len(value)]) + value


def block(*fields, method=b"GET", scheme=b"https", path=b"/hello.txt"):
    head = [(b":method", method), (b":scheme", scheme), (b":path", path), (b":authority", b"localhost")]
    return b"".join(literal(*pair) for pair in head if pair[1] is not None) + b"".join(literal(*pair) for pair in fields)


def request(stream=1, flags=END_STREAM | END_HEADERS, head=None):
    return frame(HEADERS, flags, stream, block() if head is None else head)


def put(stream=1, *fields):
    """The head of a request whose body is to follow. It changes nothing: the condition does not hold."""
    return request(stream, END_HEADERS, block((b"if-match", b'"none"'), *fields, method=b"PUT"))


class Wrong(Exception):
    """The server did something else than what the RFC asks for."""


class Reset(Wrong):
    """The connection was reset, and what the server said before may be lost: it ended with something of the client unread."""


class Connection:
    def __init__(self, served, preface=PREFACE + settings()):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        self.stream = context.wrap_socket(socket.create_connection((served.ip, served.port), PATIENCE), server_hostname="localhost")
        assert self.stream.selected_alpn_protocol() == "h2"
        self.stream.settimeout(PATIENCE)
        self.buffer = b""
        self.send(preface)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()

    def send(self, *pieces):
        try:
            self.stream.sendall(b"".join(pieces))
        except OSError:
            pass  # It has ended the connection; what it said before that is still read.

    def next(self):
        """The next frame as (kind, flags, stream, payload); None at the end of the connection."""
        while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3]):
            try:
                more = self.stream.recv(65536)
            except TimeoutError:
                raise Wrong("nothing happened") from None
            except ConnectionResetError:
                raise Reset("the connection was reset") from None
            except OSError:
                return None
            if not more:
                return None
            self.buffer += more
        end = 9 + int.from_bytes(self.buffer[:3])
        whole, self.buffer = self.buffer[:end], self.buffer[end:]
        return whole[3], whole[4], int.from_bytes(whole[5:9]) & 0x7FFFFFFF, whole[9:]

    def until(self, wanted):
        """The first frame for which this holds."""
        while found := self.next():
            if wanted(*found):
                return found
            if found[0] == GOAWAY:
                raise Wrong(f"GOAWAY with {int.from_bytes(found[3][4:8])}")
        raise Wrong("the connection ended")

    def answer(self, stream=1):
        """The first byte of the answer's head, which is its status where that is a common one (RFC 7541, Appendix A)."""
        found = self.until(lambda kind, _, of, __: of == stream and kind in (HEADERS, RST_STREAM))
        if found[0] == RST_STREAM:
            raise Wrong(f"RST_STREAM with {int.from_bytes(found[3])}")
        # The first answer on a connection may begin by saying how large its table is.
        head = found[3].lstrip(b"\x20\x3f")
        return head[0]

    def served(self, stream=1):
        if self.answer(stream) != 0x88:
            raise Wrong("the answer is not 200")

    def barrier(self):
        """Everything sent before has been looked at once this returns."""
        self.send(frame(PING, payload=b"barrier."))
        self.until(lambda kind, flags, _, payload: kind == PING and flags == ACK and payload == b"barrier.")

    def verdicts(self):
        """Frames until the end of the connection, or until long after all that was sent has been looked at."""
        self.send(frame(PING, payload=b"verdict?"))
        while found := self.next():
            if found[0] == PING and found[1] & ACK:
                # What is to be said about a stream may still come.
                self.stream.settimeout(1)
            yield found

    def connection_error(self, *codes):
        """GOAWAY with one of these codes, and then the end."""
        for found in self.verdicts():
            if found[0] == GOAWAY:
                code = int.from_bytes(found[3][4:8])
                if code not in codes:
                    raise Wrong(f"GOAWAY with {code}")
                with contextlib.suppress(Reset):
                    while self.next():
                        pass
                return
            if found[0] == RST_STREAM:
                raise Wrong(f"RST_STREAM with {int.from_bytes(found[3])}, and no GOAWAY")
        raise Wrong("the connection ended without GOAWAY")

    def stream_error(self, *codes, stream=1, or_400=False):
        """RST_STREAM with one of these codes. Whoever likes may end the connection for it (§5.4.2), or answer a malformed request
        before (§8.1.1)."""
        for found in self.verdicts():
            kind, _, of, payload = found
            if kind == RST_STREAM and of == stream:
                code = int.from_bytes(payload)
            elif kind == GOAWAY:
                code = int.from_bytes(payload[4:8])
            elif kind == HEADERS and of == stream and or_400 and payload.lstrip(b"\x20\x3f")[0] == 0x8C:
                return
            else:
                continue
            if code not in codes:
                raise Wrong(f"{'RST_STREAM' if kind == RST_STREAM else 'GOAWAY'} with {code}")
            return
        raise Wrong("the connection ended without a word")


CHECKS = []


def check(section, what):
    def keep(function):
        CHECKS.append((section, what, function))
        return function
    return keep


def connection_error(section, what, codes, *pieces, preface=PREFACE + settings()):
    def judge(served):
        with Connection(served, preface) as connection:
            connection.send(*pieces)
            connection.connection_error(*codes)
    CHECKS.append((section, what, judge))


def stream_error(section, what, codes, *pieces, or_400=False):
    def judge(served):
        with Connection(served) as connection:
            connection.send(*pieces)
            connection.stream_error(*codes, or_400=or_400)
    CHECKS.append((section, what, judge))


def malformed(section, what, head, *pieces, flags=END_STREAM | END_HEADERS):
    stream_error(section, what, (PROTOCOL,), request(1, flags, head), *pieces, or_400=True)


def harmless(section, what, *pieces):
    def judge(served):
        with Connection(served) as connection:
            connection.send(*pieces, request(101))
            connection.served(101)
    CHECKS.append((section, what, judge))


@check("3.4", "the server begins with SETTINGS, and acknowledges the client's")
def _(served):
    with Connection(served) as connection:
        kind, flags, stream, _ = connection.next()
        if (kind, flags & ACK, stream) != (SETTINGS, 0, 0):
            raise Wrong(f"its first frame is of kind {kind}")
        connection.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
        connection.send(request())
        connection.served()


@check("3.4", "another preface ends the connection")
def _(served):
    with Connection(served, b"GET / HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings()) as connection:
        # GOAWAY may be left out: who speaks so does not understand it.
        while found := connection.next():
            if found[0] == GOAWAY and int.from_bytes(found[3][4:8]) != PROTOCOL:
                raise Wrong("GOAWAY with another code")


connection_error("3.4", "SETTINGS have to be the first frame", (PROTOCOL,), request(), preface=PREFACE)
harmless("4.1", "frames of unknown kinds are ignored", frame(0x77, 0xFF, 0, b"x" * 99), frame(0x78, 0, 1, b"y"))
harmless("4.1", "unknown flags and the reserved bit are ignored", frame(SETTINGS, 0xFE, 1 << 31))
stream_error("4.2", "DATA longer than was allowed", (FRAME_SIZE,), put(), frame(DATA, 0, 1, bytes(16385)))
connection_error("4.2", "HEADERS longer than was allowed", (FRAME_SIZE,), request(head=block() + bytes(16385)))
connection_error("4.3", "a header block that cannot be decoded", (COMPRESSION,), request(head=block() + b"\x80"))
connection_error("4.3", "an index beyond the table (RFC 7541 §2.3.3)", (COMPRESSION,), request(head=block() + b"\xfe"))
connection_error("4.3", "a table larger than was allowed (RFC 7541 §6.3)", (COMPRESSION,), request(head=b"\x3f\xe1\xff\x03" + block()))
connection_error("4.3", "a literal that ends too early (RFC 7541 §5.2)", (COMPRESSION,), request(head=block() + b"\x00\x05abc"))
connection_error("4.3", "Huffman padding of more than 7 bits (RFC 7541 §5.2)", (COMPRESSION,), request(head=block() + b"\x00\x82\x1c\xff\xff\x01x"))
connection_error("4.3", "another frame within a header block", (PROTOCOL,), request(1, END_STREAM), frame(PING, payload=bytes(8)))
connection_error("4.3", "another stream's frame within a header block", (PROTOCOL,), request(1, END_STREAM), request(3))

for kind, name, payload in [
    (DATA, "DATA", b"x"), (RST_STREAM, "RST_STREAM", bytes(4)), (WINDOW_UPDATE, "WINDOW_UPDATE", b"\0\0\0\1"), (CONTINUATION, "CONTINUATION", block()),
]:
    connection_error("5.1", f"{name} on an idle stream", (PROTOCOL,), frame(kind, 0, 1, payload))
stream_error("5.1", "DATA behind the end of a request", (STREAM_CLOSED,), request(1, head=block(path=b"/large.bin")), frame(DATA, 0, 1, b"x"))
stream_error("5.1", "HEADERS behind the end of a request", (STREAM_CLOSED,), request(1, head=block(path=b"/large.bin")), request(1))
stream_error("5.1", "DATA on a stream that was reset", (STREAM_CLOSED,), put(), frame(RST_STREAM, 0, 1, struct.pack(">I", CANCEL)), frame(DATA, 0, 1, b"x"))
connection_error("5.1.1", "a stream of an even number", (PROTOCOL,), request(2))
connection_error("5.1.1", "a stream of a number lower than the last", (PROTOCOL, STREAM_CLOSED), request(5), request(3))


@check("5.1.2", "more streams than were allowed are refused")
def _(served):
    with Connection(served) as connection:
        _, _, _, said = connection.next()
        limits = dict(struct.iter_unpack(">HI", said))
        count = limits[MAX_STREAMS]
        connection.until(lambda kind, flags, *_: kind == SETTINGS and flags & ACK)
        connection.send(frame(SETTINGS, ACK), *(put(2 * index + 1) for index in range(count + 1)))
        connection.stream_error(PROTOCOL, REFUSED, stream=2 * count + 1)


connection_error("6.1", "DATA on stream 0", (PROTOCOL,), frame(DATA, 0, 0, b"x"))
connection_error("6.1", "padding longer than DATA", (PROTOCOL,), put(), frame(DATA, PADDED, 1, b"\x05xyz"))
connection_error("6.2", "HEADERS on stream 0", (PROTOCOL,), request(0))
connection_error("6.2", "padding longer than HEADERS", (PROTOCOL,), request(1, END_STREAM | END_HEADERS | PADDED, b"\xff" + block()))
harmless("6.2", "HEADERS with padding and a priority", request(1, END_STREAM | END_HEADERS | PADDED | WITH_PRIORITY, b"\x03\0\0\0\0\x10" + block() + bytes(3)))
connection_error("6.3", "PRIORITY on stream 0", (PROTOCOL,), frame(PRIORITY, 0, 0, bytes(5)))
stream_error("6.3", "PRIORITY of another length", (FRAME_SIZE,), request(1, head=block(path=b"/large.bin")), frame(PRIORITY, 0, 1, bytes(4)))
harmless("6.3", "PRIORITY on an idle stream", frame(PRIORITY, 0, 99, b"\0\0\0\0\x10"))
connection_error("6.4", "RST_STREAM on stream 0", (PROTOCOL,), frame(RST_STREAM, 0, 0, bytes(4)))
connection_error("6.4", "RST_STREAM of another length", (FRAME_SIZE,), put(), frame(RST_STREAM, 0, 1, bytes(3)))
connection_error("6.5", "SETTINGS on a stream", (PROTOCOL,), frame(SETTINGS, 0, 1))
connection_error("6.5", "SETTINGS of another length", (FRAME_SIZE,), frame(SETTINGS, 0, 0, bytes(5)))
connection_error("6.5", "an acknowledgement with content", (FRAME_SIZE,), frame(SETTINGS, ACK, 0, bytes(6)))
connection_error("6.5.2", "ENABLE_PUSH neither 0 nor 1", (PROTOCOL,), settings((ENABLE_PUSH, 2)))
connection_error("6.5.2", "a window larger than 2^31-1", (FLOW_CONTROL,), settings((INITIAL_WINDOW, 1 << 31)))
connection_error("6.5.2", "MAX_FRAME_SIZE below 16,384", (PROTOCOL,), settings((MAX_FRAME, 16383)))
connection_error("6.5.2", "MAX_FRAME_SIZE above 2^24-1", (PROTOCOL,), settings((MAX_FRAME, 1 << 24)))
harmless("6.5.2", "unknown settings are ignored", settings((0x77, 7), (0xFFFF, 0xFFFFFFFF)))
connection_error("6.6", "a client promises nothing", (PROTOCOL,), put(), frame(PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + block()))


@check("6.7", "PING is answered with the same content, and an answer is not")
def _(served):
    with Connection(served) as connection:
        connection.send(frame(PING, ACK, 0, b"answered"), frame(PING, 0, 0, b"12345678"))
        _, _, _, payload = connection.until(lambda kind, flags, *_: kind == PING and flags & ACK)
        if payload != b"12345678":
            raise Wrong(f"{payload}")


connection_error("6.7", "PING on a stream", (PROTOCOL,), frame(PING, 0, 1, bytes(8)))
connection_error("6.7", "PING of another length", (FRAME_SIZE,), frame(PING, 0, 0, bytes(6)))
connection_error("6.8", "GOAWAY on a stream", (PROTOCOL,), put(), frame(GOAWAY, 0, 1, bytes(8)))
connection_error("6.9", "WINDOW_UPDATE by nothing, of the connection", (PROTOCOL,), frame(WINDOW_UPDATE, 0, 0, bytes(4)))
stream_error("6.9", "WINDOW_UPDATE by nothing, of a stream", (PROTOCOL,), put(), frame(WINDOW_UPDATE, 0, 1, bytes(4)))
connection_error("6.9", "WINDOW_UPDATE of another length", (FRAME_SIZE,), frame(WINDOW_UPDATE, 0, 0, bytes(3)))
connection_error("6.9.1", "a connection's window beyond 2^31-1", (FLOW_CONTROL,), *2 * [frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")])
stream_error("6.9.1", "a stream's window beyond 2^31-1", (FLOW_CONTROL,), put(), *2 * [frame(WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff")])


@check("6.9.1", "a client that sends more than it may is cut off")
def _(served):
    with Connection(served) as connection:
        _, _, _, said = connection.next()
        window = dict(struct.iter_unpack(">HI", said)).get(INITIAL_WINDOW, 65535)
        # Too much at once, whatever is given back while it comes: nobody reads the body of what was refused.
        frames = max(window, 65535) // 16384 * 4 + 4
        connection.send(put(), *frames * [frame(DATA, 0, 1, bytes(16384))])
        # Either the stream or the connection is to end. What is told along with it may be lost, as so much lies unread.
        with contextlib.suppress(Reset):
            for kind, _, of, payload in connection.verdicts():
                if kind == GOAWAY or kind == RST_STREAM and of == 1:
                    code = int.from_bytes(payload[4:8] if kind == GOAWAY else payload)
                    if code not in (FLOW_CONTROL, STREAM_CLOSED, NO_ERROR):
                        raise Wrong(f"it ended with {code}")
                    return


@check("6.9.2", "no more is sent than the window allows, and what comes with it")
def _(served):
    with Connection(served, PREFACE + settings((INITIAL_WINDOW, 3))) as connection:
        connection.send(request(1, head=block(path=b"/large.bin")))
        connection.served()
        total = 0
        for grant in (3, 10, 5):
            if total:
                connection.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", grant)))
            got = 0
            while got < grant:
                got += len(connection.until(lambda kind, *_: kind == DATA)[3])
            total += got
            connection.send(frame(PING, payload=b"any more"))
            kind, *_ = connection.until(lambda kind, flags, *_: kind == DATA or kind == PING and flags & ACK)
            if got > grant or kind == DATA:
                raise Wrong(f"{got} bytes and more where {grant} were allowed")


@check("6.9.2", "a window that has become negative is waited for")
def _(served):
    with Connection(served, PREFACE + settings((INITIAL_WINDOW, 10))) as connection:
        connection.send(request(1, head=block(path=b"/large.bin")))
        got = 0
        while got < 10:
            got += len(connection.until(lambda kind, *_: kind == DATA)[3])
        connection.send(settings((INITIAL_WINDOW, 4)), frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 6)), frame(PING, payload=b"negative"))
        kind, *_ = connection.until(lambda kind, flags, *_: kind == DATA or kind == PING and flags & ACK)
        if kind == DATA:
            raise Wrong("it sends although its window is used up")
        connection.send(frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)))
        if len(connection.until(lambda kind, *_: kind == DATA)[3]) != 1:
            raise Wrong("it sends more than one byte")


connection_error("6.10", "CONTINUATION on stream 0", (PROTOCOL,), request(1, END_STREAM), frame(CONTINUATION, END_HEADERS, 0, b""))
connection_error("6.10", "CONTINUATION behind the end of a header block", (PROTOCOL,), request(1, head=block(path=b"/large.bin")), frame(CONTINUATION, END_HEADERS, 1, literal(b"x", b"y")))
harmless("6.10", "a header block in pieces", request(1, END_STREAM, block()[:7]), frame(CONTINUATION, 0, 1, block()[7:20]), frame(CONTINUATION, END_HEADERS, 1, block()[20:]))

stream_error("8.1", "trailers that do not end the request", (PROTOCOL,), put(), request(1, END_HEADERS, literal(b"x", b"y")), or_400=True)
malformed("8.1", "a pseudo-header field in trailers", block((b"if-match", b'"none"'), method=b"PUT"), request(1, END_STREAM | END_HEADERS, literal(b":path", b"/x")), flags=END_HEADERS)
malformed("8.1.1", "a body shorter than Content-Length", block((b"content-length", b"9"), method=b"PUT", path=b"/new"), frame(DATA, END_STREAM, 1, b"x"), flags=END_HEADERS)
malformed("8.1.1", "a body longer than Content-Length", block((b"content-length", b"1"), method=b"PUT", path=b"/new"), frame(DATA, END_STREAM, 1, b"xyz"), flags=END_HEADERS)
malformed("8.2.1", "an upper-case field name", block((b"X-Upper", b"y")))
malformed("8.2.1", "a field name with a space", block((b"x y", b"z")))
malformed("8.2.1", "a field value with a line break", block((b"x", b"y\r\nz: 1")))
for name in (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"):
    malformed("8.2.2", f"the field {name.decode()}", block((name, b"close")))
malformed("8.2.2", "TE other than trailers", block((b"te", b"gzip")))
harmless("8.2.2", "TE: trailers", request(1, head=block((b"te", b"trailers"))))
malformed("8.3", "an unknown pseudo-header field", block() + literal(b":unknown", b"y"))
malformed("8.3", "a pseudo-header field of answers", block() + literal(b":status", b"200"))
malformed("8.3", "a pseudo-header field behind others", literal(b"x", b"y") + block())
malformed("8.3", "a pseudo-header field twice", block() + literal(b":path", b"/other"))
malformed("8.3.1", "no :method", block(method=None))
malformed("8.3.1", "no :scheme", block(scheme=None))
malformed("8.3.1", "no :path", block(path=None))
malformed("8.3.1", "an empty :path", block(path=b""))

# What is not as the RFC has it, and what is seen instead. All of it is the h2 crate's: docs/HTTP.md, "Conformance".
OTHER_CODE, NOT_SEEN = "GOAWAY with 1", "nothing happened"
KNOWN = {
    ("3.4", "SETTINGS have to be the first frame"): NOT_SEEN,
    ("4.3", "a header block that cannot be decoded"): OTHER_CODE,
    ("4.3", "an index beyond the table (RFC 7541 §2.3.3)"): OTHER_CODE,
    ("4.3", "a table larger than was allowed (RFC 7541 §6.3)"): OTHER_CODE,
    ("4.3", "a literal that ends too early (RFC 7541 §5.2)"): OTHER_CODE,
    ("4.3", "Huffman padding of more than 7 bits (RFC 7541 §5.2)"): OTHER_CODE,
    ("5.1", "DATA behind the end of a request"): OTHER_CODE,
    ("5.1", "HEADERS behind the end of a request"): OTHER_CODE,
    ("6.3", "PRIORITY of another length"): OTHER_CODE,
    ("6.4", "RST_STREAM of another length"): OTHER_CODE,
    ("6.5", "SETTINGS of another length"): OTHER_CODE,
    ("6.5", "an acknowledgement with content"): OTHER_CODE,
    ("6.5.2", "a window larger than 2^31-1"): OTHER_CODE,
    ("6.7", "PING of another length"): OTHER_CODE,
    ("6.9", "WINDOW_UPDATE of another length"): OTHER_CODE,
    ("8.1", "a pseudo-header field in trailers"): NOT_SEEN,
}

if __name__ == "__main__":
    run("RFC 9113", CHECKS, KNOWN, Wrong, Reset)
