/// What the gateway tells backends about the client (RFC 7239 and the X-Forwarded fields).
public enum Forwarded {
    /// Writes X-Forwarded-For, -Proto and -Host; false when they do not fit.
    ///
    /// From an untrusted client every forwarding field is dropped first. A trusted one's list of
    /// addresses is continued, and its protocol and host are kept. `client` is the address as text,
    /// without port. The host is the authority that the request came with, so this belongs before
    /// `setAuthority`.
    public static func apply(
        to head: inout RequestHead, client: Span<UInt8>, isSecure: Bool, isTrusted: Bool
    ) -> Bool {
        if !isTrusted, !head.fields.names.isDisjoint(with: names) { head.fields.dropEach(names) }
        if !appendFor(&head.fields, client, continues: isTrusted) { return false }
        if !isTrusted || head.value(.xForwardedProto) == nil {
            let isWritten =
                isSecure
                ? head.fields.appendChecked(
                    .xForwardedProto, nameCount: 17, line: "x-forwarded-proto: https\r\n")
                : head.fields.appendChecked(
                    .xForwardedProto, nameCount: 17, line: "x-forwarded-proto: http\r\n")
            if !isWritten { return false }
        }
        if head.authority.isNone || (isTrusted && head.value(.xForwardedHost) != nil) {
            return true
        }
        return head.fields.appendChecked(
            .xForwardedHost, prefix: "x-forwarded-host: ", own: head.authority)
    }

    /// Where X-Forwarded-For tells of the client that stands before `hops` proxies; nil when there are fewer.
    ///
    /// Each proxy adds whom it was asked by at the end, so what stands further left is what the client itself said.
    public static func client(of head: borrowing RequestHead, hops: Int) -> ByteRange? {
        var left = hops
        var line = head.fields.lines.count
        while line > 0 {
            line -= 1
            if !head.fields.isKept(line, .xForwardedFor) { continue }
            let value = head.fields.lines[line].value
            let text = head.span(value)
            var end = text.count
            while end >= 0 {
                var start = end
                while start > 0, text[start - 1] != UInt8(ascii: ",") { start -= 1 }
                let entry = trimmed(text, start, end)
                if !entry.isEmpty { left -= 1 }
                if left == 0 { return ByteRange(start: value.start, entry) }
                end = start - 1
            }
        }
        return nil
    }

    /// Where a field with one address tells of the client; nil without it and where there are several.
    ///
    /// The name is in small letters.
    public static func client(of head: borrowing RequestHead, named name: Span<UInt8>) -> ByteRange?
    {
        guard let line = head.fields.index(named: name, from: 0),
            head.fields.index(named: name, from: line + 1) == nil
        else { return nil }
        return head.fields.lines[line].value
    }

    /// Begins X-Forwarded-For anew with a range of the head's own bytes, or without any; false when it does not fit.
    public static func restart(_ head: inout RequestHead, from client: ByteRange?) -> Bool {
        head.fields.remove(.xForwardedFor)
        guard let client else { return true }
        return head.fields.appendChecked(.xForwardedFor, prefix: "x-forwarded-for: ", own: client)
    }

    /// Drops all lines of a name in small letters, which only a proxy may say.
    public static func drop(_ name: Span<UInt8>, of head: inout RequestHead) {
        head.fields.remove(named: name)
    }

    private static func trimmed(_ text: Span<UInt8>, _ start: Int, _ end: Int) -> Range<Int> {
        var start = start
        var end = end
        while start < end, text[start] == 32 || text[start] == 9 { start += 1 }
        while end > start, text[end - 1] == 32 || text[end - 1] == 9 { end -= 1 }
        return start..<end
    }

    /// The names of all fields that tell of earlier hops, unknown `x-forwarded-` ones included.
    @inline(__always)
    static var names: FieldNames {
        FieldNames(.xForwardedFor).union(FieldNames(.xForwardedProto))
            .union(FieldNames(.xForwardedHost)).union(FieldNames(.xForwardedPort))
            .union(FieldNames(.forwarded)).union(FieldNames(.xRealIP)).union(.otherForwarding)
    }

    /// Writes X-Forwarded-For as one line: what was there, if it is continued, and the client.
    private static func appendFor(
        _ fields: inout FieldSection, _ client: Span<UInt8>, continues: Bool
    ) -> Bool {
        if !continues || fields.value(.xForwardedFor) == nil {
            return fields.appendChecked(.xForwardedFor, prefix: "x-forwarded-for: ", value: client)
        }
        return continueFor(&fields, client)
    }

    /// Writes the values of all X-Forwarded-For lines and the client as one line.
    @inline(never)
    private static func continueFor(
        _ fields: inout FieldSection, _ client: Span<UInt8>
    ) -> Bool {
        let before = fields.lines.count
        var room = client.count + 19
        for i in 0..<before where fields.isKept(i, .xForwardedFor) {
            room += Int(fields.lines[i].value.count) + 2
        }
        if !fields.hasRoom(room) { return false }
        let start = fields.bytes.count
        fields.bytes.append(copying: ByteScan.bytes("x-forwarded-for: "))
        for i in 0..<before where fields.isKept(i, .xForwardedFor) {
            fields.drop(i)
            if fields.lines[i].value.isEmpty { continue }
            fields.appendOwn(fields.lines[i].value, then: ", ")
        }
        fields.bytes.edit { _ = ByteScan.append(client, "\r\n", to: &$0) }
        fields.record(.xForwardedFor, start, nameCount: 15)
        return true
    }

    /// Whether a name begins with `x-forwarded-`.
    @inline(__always)
    static func isForwardingName(_ bytes: Span<UInt8>, _ name: Range<Int>) -> Bool {
        if name.count < 12 { return false }
        let first = ByteScan.load8(bytes, name.lowerBound) | 0x2020_2020_2020_2020
        // "x-forwar"
        if first != 0x7261_7772_6F66_2D78 { return false }
        return ByteScan.equalFolding(
            bytes.extracting(name.lowerBound..<(name.lowerBound + 12)),
            ByteScan.bytes("x-forwarded-"))
    }
}
