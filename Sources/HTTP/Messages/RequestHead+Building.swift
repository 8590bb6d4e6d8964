/// What was seen so far of a head that is built field by field.
struct PseudoFields: BitwiseCopyable {
    var hasMethod = false
    var hasScheme = false
    var hasPath = false
    var hasAuthority = false
    var hasHost = false
    /// A usual field was seen, after which no pseudo-field may come.
    var hasField = false
    var cookies = 0
    var hasLength = false
    var length: UInt64 = 0
    var hasExpectation = false
    var fieldBytes = 0
}

// MARK: - Requests of our own

extension RequestHead {
    /// Begins a request of our own in HTTP/1.1; false when a part is invalid or does not fit.
    ///
    /// `newTarget` is origin-form, or `*`, and is written as it stands. An empty `newAuthority`
    /// leaves Host out.
    public mutating func begin(
        method newMethod: Method, target newTarget: Span<UInt8>, authority newAuthority: Span<UInt8>
    ) -> Bool {
        clear()
        if newTarget.count + newAuthority.count + 16 > fields.bytes.freeCapacity { return false }
        version = .http11
        method = newMethod
        methodText = fields.keep(ByteScan.bytes(newMethod.text))
        if newMethod == .other || newTarget.isEmpty { return false }
        let isAsterisk = newTarget.count == 1 && newTarget[0] == 0x2A
        if newTarget[0] != 0x2F && !isAsterisk { return false }
        if ByteScan.graphicEnd(newTarget, from: 0, to: newTarget.count) < newTarget.count {
            return false
        }
        target = fields.keep(newTarget)
        let start = Int(target.start)
        let mark = ByteScan.first(0x3F, newTarget, from: 0, to: newTarget.count)
        path = ByteRange(start..<(start + mark))
        if mark < newTarget.count { query = ByteRange((start + mark + 1)..<target.end) }
        if newAuthority.isEmpty { return true }
        return takeAuthority(newAuthority)
    }

    /// Forgets everything of an earlier message.
    private mutating func clear() {
        fields.bytes.removeAll()
        fields.removeAllLines()
        method = .other
        methodText = .none
        target = .none
        path = .none
        query = .none
        authority = .none
        host = .none
        hostPort = nil
        framing = .none
        sentFraming = nil
        keepsAlive = true
        expectsContinue = false
        acceptsTrailers = false
        upgrade = .none
        writesHost = false
        namesFields = false
        isLineCanonical = false
        lineEnd = 0
        pseudo = PseudoFields()
    }

    /// Keeps a valid authority and its host; false when it is invalid or does not fit.
    private mutating func takeAuthority(_ value: Span<UInt8>) -> Bool {
        let base = fields.bytes.count
        authority = fields.keep(value)
        if authority.isNone { return false }
        writesHost = true
        return HeadParser.takeHost(&self, value, base: base) == nil
    }
}

// MARK: - Requests field by field

extension RequestHead {
    /// Begins a head that is built field by field, as HTTP/2 delivers it.
    public mutating func begin() {
        clear()
        version = .http2
    }

    /// Adds a field or a pseudo-field as HTTP/2 delivers it; the refusal when it breaks a rule
    /// (RFC 9113 §8.2 and §8.3).
    public mutating func appendField(name: Span<UInt8>, value: Span<UInt8>) -> Malformed? {
        appendAny(name, value).map { Malformed($0) }
    }

    private mutating func appendAny(
        _ name: Span<UInt8>, _ value: Span<UInt8>
    ) -> Malformed.Reason? {
        if name.isEmpty { return .fieldNameInvalid }
        if name[0] == 0x3A { return appendPseudo(name, value) }
        pseudo.hasField = true
        for i in name.indices {
            if name[i] &- 0x41 < 26 { return .nameUpperCase }
            if !Token.isTokenByte(name[i]) { return .fieldNameInvalid }
        }
        if ByteScan.firstControl(value, from: 0, to: value.count) < value.count {
            return .fieldControl
        }
        if FieldValue.trimmed(value).count != value.count { return .fieldPadded }
        if name.count + value.count > limits.fieldBytes { return .fieldTooLong }
        pseudo.fieldBytes += name.count + value.count + 4
        if pseudo.fieldBytes > limits.fieldsBytes { return .fieldsTooLong }
        if fields.lines.count >= limits.fieldCount { return .fieldsTooMany }
        let id = FieldName.recognise(name)
        if let reason = note(id, value) { return reason }
        if !fields.appendChecked(id, name: name, value: value) { return .fieldsTooLong }
        if id.isFraming || (id == .host && writesHost) {
            fields.remove(at: fields.count - 1)
        } else if id == .other && !limits.keepsUnderscoreNames {
            if ByteScan.first(0x5F, name, from: 0, to: name.count) < name.count {
                fields.remove(at: fields.count - 1)
            }
        }
        return nil
    }

    /// Takes what a usual field decides.
    private mutating func note(_ id: FieldName, _ value: Span<UInt8>) -> Malformed.Reason? {
        switch id {
        case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade,
            .http2Settings:
            return .fieldOfConnection
        case .te:
            if !ByteScan.equalFolding(value, ByteScan.bytes("trailers")) { return .teOfHTTP2 }
            acceptsTrailers = true
        case .host: return noteHost(value)
        case .cookie: pseudo.cookies += 1
        case .contentLength:
            guard let count = FieldValue.decimal(value) else { return .lengthInvalid }
            if pseudo.hasLength && pseudo.length != count { return .lengthRepeated }
            pseudo.hasLength = true
            pseudo.length = count
        case .expect:
            pseudo.hasExpectation = true
            if !ByteScan.equalFolding(value, ByteScan.bytes("100-continue")) {
                return .expectUnknown
            }
        default: break
        }
        return nil
    }

    /// Takes Host, which must agree with `:authority` and stands in for it (RFC 9113 §8.3.1).
    private mutating func noteHost(_ value: Span<UInt8>) -> Malformed.Reason? {
        if pseudo.hasHost { return .hostRepeated }
        pseudo.hasHost = true
        if !pseudo.hasAuthority { return takeAuthority(value) ? nil : .hostInvalid }
        if Int(authority.count) != value.count { return .authorityDiffers }
        for i in value.indices {
            let sent = ByteScan.lowered(fields.bytes[Int(authority.start) + i])
            if sent != ByteScan.lowered(value[i]) { return .authorityDiffers }
        }
        return nil
    }

    private mutating func appendPseudo(
        _ name: Span<UInt8>, _ value: Span<UInt8>
    ) -> Malformed.Reason? {
        if pseudo.hasField { return .pseudoLate }
        if ByteScan.equal(name, ByteScan.bytes(":method")) {
            if pseudo.hasMethod { return .pseudoRepeated }
            pseudo.hasMethod = true
            if value.isEmpty || !Token.isToken(value) { return .methodInvalid }
            if value.count > limits.requestLineBytes { return .requestLineTooLong }
            method = Method(token: value)
            methodText = fields.keep(value)
        } else if ByteScan.equal(name, ByteScan.bytes(":scheme")) {
            if pseudo.hasScheme { return .pseudoRepeated }
            pseudo.hasScheme = true
            if !ByteScan.equalFolding(value, ByteScan.bytes("http"))
                && !ByteScan.equalFolding(value, ByteScan.bytes("https"))
            {
                return .targetScheme
            }
        } else if ByteScan.equal(name, ByteScan.bytes(":path")) {
            if pseudo.hasPath { return .pseudoRepeated }
            pseudo.hasPath = true
            return takePath(value)
        } else if ByteScan.equal(name, ByteScan.bytes(":authority")) {
            if pseudo.hasAuthority { return .pseudoRepeated }
            pseudo.hasAuthority = true
            if !takeAuthority(value) { return .hostInvalid }
        } else {
            return .pseudoUnknown
        }
        return nil
    }

    private mutating func takePath(_ value: Span<UInt8>) -> Malformed.Reason? {
        if value.count > limits.requestLineBytes { return .requestLineTooLong }
        if value.isEmpty { return .targetForm }
        if ByteScan.graphicEnd(value, from: 0, to: value.count) < value.count {
            return .targetByte
        }
        let base = fields.bytes.count
        if value.count == 1, value[0] == 0x2A {
            target = fields.keep(value)
            path = target
            return nil
        }
        if value[0] != 0x2F { return .targetForm }
        fields.bytes.append(copying: value)
        let stop = ByteScan.plainPathEnd(value, from: 0, to: value.count)
        return Target.takeOrigin(&self, value, 0..<value.count, stop, base: base)
    }

    /// Ends a head that was built field by field; the refusal when it breaks a rule.
    ///
    /// `hasContent` is false when the stream ended with the head. Unknown length becomes
    /// `.chunked`.
    public mutating func finish(hasContent: Bool) -> Malformed? {
        finishAny(hasContent).map { Malformed($0) }
    }

    private mutating func finishAny(_ hasContent: Bool) -> Malformed.Reason? {
        if method == .connect { return .methodConnect }
        if !pseudo.hasMethod || !pseudo.hasScheme || !pseudo.hasPath { return .pseudoMissing }
        if authority.isNone { return .hostMissing }
        if method != .options, fields.bytes[Int(path.start)] == 0x2A { return .targetAsterisk }
        if !hasContent && pseudo.hasLength && pseudo.length != 0 { return .contentLengthDiffers }
        if pseudo.hasLength {
            framing = .length(pseudo.length)
        } else {
            framing = hasContent ? .chunked : .none
        }
        expectsContinue = pseudo.hasExpectation && framing != .none
        if pseudo.cookies > 1, !joinCookies() { return .fieldsTooLong }
        return nil
    }

    /// Makes one Cookie line of several (RFC 9113 §8.2.3); false when it does not fit.
    private mutating func joinCookies() -> Bool {
        var room = 10
        for i in 0..<fields.count where fields.isKept(i, .cookie) {
            room += Int(fields[i].value.count) + 2
        }
        if !fields.hasRoom(room) { return false }
        let before = fields.count
        let start = fields.bytes.count
        fields.bytes.append(copying: ByteScan.bytes("cookie: "))
        var isFirst = true
        for i in 0..<before where fields.isKept(i, .cookie) {
            if !isFirst { fields.bytes.append(copying: ByteScan.bytes("; ")) }
            isFirst = false
            fields.appendOwn(fields[i].value)
            fields.remove(at: i)
        }
        fields.bytes.append(copying: ByteScan.bytes("\r\n"))
        fields.record(.cookie, start, nameCount: 6)
        return true
    }
}
