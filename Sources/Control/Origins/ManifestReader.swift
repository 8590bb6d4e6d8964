/// What identifies an object among all: versions of one group are the same object.
struct ObjectKey: Hashable, Comparable, Sendable {
    let kind: String
    let group: String
    let namespace: String
    let name: String

    static func < (a: ObjectKey, b: ObjectKey) -> Bool {
        (a.kind, a.group, a.namespace, a.name) < (b.kind, b.group, b.namespace, b.name)
    }
}

/// What one file says.
struct Manifest: Sendable {
    /// A document of a kind that this program does not read.
    struct Ignored: Sendable {
        var kind: String
        var apiVersion: String
        var position: SourcePosition
    }

    var objects: [LocatedObject] = []
    var problems: [ConfigProblem] = []
    var ignored: [Ignored] = []
    /// Objects whose identity is known but whose content was refused.
    var refused: [ObjectKey] = []
    /// BackendTLSPolicies that could not be read, with what they seem to be about.
    var unreadPolicies: [RefusedPolicy] = []
    /// Files that documents refer to (a Secret's certificate), with their state when read; nil
    /// when they were not there.
    var attachments: [String: FileStamp?] = [:]
    /// The text could not be read as documents at all.
    var isUnread = false
    /// What its documents say one by one, where that does not depend on other files.
    var parts: [Part] = []

    /// A document of a file, by its place and its text.
    struct Part: Sendable {
        let firstLine: Int
        let digest: UInt64
        let manifest: Manifest
    }

    /// Adds what a document of the same file says.
    mutating func append(_ other: Manifest) {
        objects += other.objects
        problems += other.problems
        ignored += other.ignored
        refused += other.refused
        unreadPolicies += other.unreadPolicies
        attachments.merge(other.attachments) { first, _ in first }
    }
}

/// Reads the bytes of one file into objects.
struct ManifestReader {
    let kinds: KindRegistry
    let file: String
    private var manifest = Manifest()

    init(kinds: KindRegistry, file: String) {
        self.kinds = kinds
        self.file = file
    }

    /// Reads a file.
    ///
    /// A text that is not YAML or JSON makes the whole file unread: half of a file is nobody's
    /// intention. Documents that stand where they stood, as they stood in `before`, are not read again.
    static func read(
        _ bytes: [UInt8], file: String, kinds: KindRegistry, keeping before: Manifest = Manifest()
    ) -> Manifest {
        var reader = ManifestReader(kinds: kinds, file: file)
        do throws(SyntaxFailure) {
            try reader.read(bytes, keeping: before)
        } catch {
            var unread = Manifest()
            unread.isUnread = true
            unread.problems = [
                ConfigProblem(
                    at: reader.position(error.mark), reason: error.reason, message: error.message)
            ]
            return unread
        }
        return reader.manifest
    }

    // MARK: - Documents

    private mutating func read(
        _ bytes: [UInt8], keeping before: Manifest
    ) throws(SyntaxFailure) {
        if bytes.count > DocumentLimits.fileBytesMax {
            throw SyntaxFailure(
                mark: TextMark(line: 1, column: 1),
                message: "larger than \(DocumentLimits.fileBytesMax >> 20) MiB; split it",
                reason: ConfigProblem.Reason.tooLarge)
        }
        try checkUTF8(bytes)
        let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
        if file.hasSuffix(".json") {
            var reader = JSONReader(Array(bytes[start...]))
            for root in try reader.documents() { add(root) }
            return
        }
        var known: [Int: Manifest.Part] = [:]
        for part in before.parts { known[part.firstLine] = part }
        var whole = Manifest()
        for part in DocumentPart.parts(of: bytes[start...]) {
            let digest = Digest.of(part.bytes)
            if let same = known[part.firstLine], same.digest == digest {
                whole.append(same.manifest)
                whole.parts.append(same)
                continue
            }
            manifest = Manifest()
            for root in try part.documents() { add(root) }
            whole.append(manifest)
            if manifest.attachments.isEmpty {
                whole.parts.append(
                    Manifest.Part(firstLine: part.firstLine, digest: digest, manifest: manifest))
            }
        }
        manifest = whole
    }

    private func checkUTF8(_ bytes: [UInt8]) throws(SyntaxFailure) {
        do {
            _ = try UTF8Span(validating: bytes.span)
        } catch {
            let valid = bytes[..<error.byteOffsets.lowerBound]
            let line = valid.count { $0 == UInt8(ascii: "\n") } + 1
            let lineStart = valid.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
            let column = valid[lineStart...].count { $0 & 0xC0 != 0x80 } + 1
            let isUTF16 = bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF])
            throw SyntaxFailure(
                mark: TextMark(line: line, column: column),
                message: isUTF16 ? "the text is UTF-16; save it as UTF-8" : "not UTF-8")
        }
    }

    // MARK: - Objects

    /// Takes a document apart: a List into its items, nothing into nothing.
    ///
    /// - Parameters:
    ///   - root: a document, or an item of a List.
    ///   - list: what an item is when it does not say so itself, as items of the API's own lists
    ///     do not.
    private mutating func add(
        _ root: DocumentNode, list: (apiVersion: String, kind: String)? = nil
    ) {
        if root.isNull, list == nil { return }
        guard case .mapping = root.content else {
            refuse(root, "an object of the API has the fields apiVersion, kind and metadata")
            return
        }
        guard let apiVersion = root["apiVersion"]?.text ?? list?.apiVersion,
            let kind = root["kind"]?.text ?? list?.kind, !apiVersion.isEmpty, !kind.isEmpty
        else {
            let absent = ["apiVersion", "kind"].filter { (root[$0]?.text ?? "").isEmpty }
            refuse(root, "the document has no \(sentenceList(absent, "and"))")
            if Self.secures(root["kind"]?.text ?? list?.kind ?? "") { keepClosed(root) }
            return
        }
        if kind.hasSuffix("List"), let items = root["items"] {
            if case .sequence(let items) = items.content {
                let itemKind = String(kind.dropLast(4))
                let defaults = itemKind.isEmpty ? nil : (apiVersion, itemKind)
                for item in items { add(item, list: defaults) }
            } else if !items.isNull {
                refuse(root, "items of a \(kind) is a list")
            }
            return
        }
        let version = APIVersion(apiVersion)
        switch kinds.match(group: version.group, version: version.version, kind: kind) {
        case .unknown where Self.secures(kind):
            let version = "\(Groups.gateway)/\(BackendTLSPolicy.groups[0].versions[0])"
            refuse(
                root,
                "\(kind) of \(apiVersion) is not a kind that ai-gateway reads; "
                    + "use \(BackendTLSPolicy.kind) of \(version)",
                fieldPath: "apiVersion", reason: ConfigProblem.Reason.unknownKind)
            keepClosed(root)
        case .unknown:
            manifest.ignored.append(
                Manifest.Ignored(kind: kind, apiVersion: apiVersion, position: position(root.mark)))
        case .unknownVersion(let versions):
            let known = versions.map { version.group.isEmpty ? $0 : "\(version.group)/\($0)" }
            refuse(
                root,
                "\(apiVersion) is not a version of \(kind) that ai-gateway reads; "
                    + "use \(sentenceList(known, "or"))",
                fieldPath: "apiVersion", reason: ConfigProblem.Reason.unknownKind)
            if Self.secures(kind) { keepClosed(root) }
        case .type(let type):
            add(root, apiVersion: apiVersion, as: type)
        }
    }

    private mutating func add(
        _ root: DocumentNode, apiVersion: String, as type: any Resource.Type
    ) {
        guard let identity = identity(of: root, as: type) else {
            if Self.secures(type.kind) { keepClosed(root, isNamed: false) }
            return
        }
        let reference = ObjectReference(
            kind: type.kind, namespace: identity.namespace, name: identity.name)
        var root = root
        let log = DecodingLog()
        if type.kind == "Secret", APIVersion(apiVersion).group.isEmpty {
            var secret = SecretFiles(file: file, log: log)
            secret.fill(&root)
            manifest.attachments.merge(secret.attachments) { first, _ in first }
        }
        let resource = decode(type, from: root, log: log)
        append(log.problems, of: reference)
        let key = ObjectKey(
            kind: type.kind, group: APIVersion(apiVersion).group,
            namespace: identity.namespace ?? "", name: identity.name)
        guard let resource, !log.hasErrors else {
            if Self.secures(type.kind) { keepClosed(root) } else { manifest.refused.append(key) }
            return
        }
        manifest.objects.append(
            LocatedObject(
                apiVersion: apiVersion, kind: type.kind, namespace: identity.namespace,
                name: identity.name, resource: resource,
                generation: resource.metadata.generation ?? 1, position: position(root.mark),
                positions: FieldPositions(of: root, file: file), digest: root.digest,
                declaredDigest: root.digest(without: ["apiVersion", "metadata", "status"])))
    }

    /// Takes note of a BackendTLSPolicy that cannot be used, so that its targets are not spoken to in the clear instead.
    private mutating func keepClosed(_ root: DocumentNode, isNamed: Bool = true) {
        let policy = unread(root, isNamed: isNamed)
        manifest.unreadPolicies.append(policy)
        if isNamed { manifest.refused.append(policy.object.key) }
    }

    private func decode<T: Resource>(
        _ type: T.Type, from root: DocumentNode, log: DecodingLog
    ) -> (any Resource)? {
        DocumentDecoder(log: log).decode(type, from: root)
    }

    // MARK: - Identity

    private mutating func identity(
        of root: DocumentNode, as type: any Resource.Type
    ) -> (namespace: String?, name: String)? {
        guard let metadata = root.member("metadata"), let name = metadata.value.member("name"),
            let text = name.value.text, !name.value.isNull, !text.isEmpty
        else {
            refuse(
                root, "the object has no name", object: type.kind, fieldPath: "metadata.name",
                reason: ConfigProblem.Reason.missingField)
            return nil
        }
        var namespace: String?
        if type.isNamespaced { namespace = "default" }
        if type.isNamespaced, let member = metadata.value.member("namespace"),
            !member.value.isNull, let text = member.value.text, !text.isEmpty
        {
            guard isLabel(text) else {
                refuseName(member, text, kind: type.kind, fieldPath: "metadata.namespace")
                return nil
            }
            namespace = text
        }
        guard isSubdomain(text) else {
            refuseName(name, text, kind: type.kind, fieldPath: "metadata.name")
            return nil
        }
        return (namespace, text)
    }

    private mutating func refuseName(
        _ member: DocumentNode.Member, _ text: String, kind: String, fieldPath: String
    ) {
        let isName = fieldPath == "metadata.name"
        let characters = isName ? "digits, \"-\" and \".\"" : "digits and \"-\""
        let message =
            "\"\(shortened(text))\" is not a name of the API: lower-case letters, "
            + "\(characters), a letter or digit at both ends, "
            + "at most \(isName ? 253 : 63) characters"
        manifest.problems.append(
            ConfigProblem(
                at: position(member.mark),
                object: ObjectReference(kind: kind, namespace: nil, name: shortened(text)),
                fieldPath: fieldPath, reason: ConfigProblem.Reason.invalidValue, message: message))
    }

    /// RFC 1123 §2.1 as the API applies it: labels joined by points.
    private func isSubdomain(_ text: String) -> Bool {
        text.utf8.count <= 253
            && text.split(separator: ".", omittingEmptySubsequences: false)
                .allSatisfy { isLabel($0, lengthMax: 253) }
    }

    private func isLabel(_ text: some StringProtocol, lengthMax: Int = 63) -> Bool {
        let bytes = text.utf8
        guard let first = bytes.first, bytes.count <= lengthMax else { return false }
        let isAlphanumeric = { (byte: UInt8) in
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        return isAlphanumeric(first) && isAlphanumeric(Array(bytes)[bytes.count - 1])
            && bytes.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
    }

    // MARK: - Problems

    private mutating func append(_ problems: [FieldProblem], of object: ObjectReference) {
        let shown = problems.prefix(DocumentLimits.documentProblemsMax)
        for problem in shown {
            manifest.problems.append(
                ConfigProblem(
                    problem.severity, at: position(problem.mark), object: object,
                    fieldPath: problem.fieldPath, reason: problem.reason, message: problem.message))
        }
        if problems.count > shown.count, let last = shown.last {
            manifest.problems.append(
                ConfigProblem(
                    at: position(last.mark), object: object, reason: last.reason,
                    message: "and \(problems.count - shown.count) more problems"))
        }
    }

    private mutating func refuse(
        _ root: DocumentNode, _ message: String, object kind: String? = nil,
        fieldPath: String = "", reason: String = ConfigProblem.Reason.notAnObject
    ) {
        let mark = fieldPath == "apiVersion" ? root.member("apiVersion")?.mark : nil
        manifest.problems.append(
            ConfigProblem(
                at: position(mark ?? root.mark), fieldPath: fieldPath, reason: reason,
                message: kind.map { "\($0): \(message)" } ?? message))
    }

    func position(_ mark: TextMark) -> SourcePosition {
        SourcePosition(file: file, line: Int(mark.line), column: Int(mark.column))
    }
}
