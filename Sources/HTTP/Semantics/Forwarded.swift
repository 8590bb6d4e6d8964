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
