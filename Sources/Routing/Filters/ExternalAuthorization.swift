import HTTP

/// Who is asked whether a request may pass, before anything of it goes to a backend (`HTTPExternalAuthFilter`, GEP-1494).
public struct ExternalAuthorization: Sendable, Equatable {
    /// What is spoken with the one that is asked.
    public enum Dialect: UInt8, Sendable, BitwiseCopyable {
        /// The request's head in a request of its own, whose answer's status decides.
        case http
        /// A call of `envoy.service.auth.v3.Authorization/Check`.
        case grpc
    }

    /// The stable id of the cluster that is asked; `.max`: nobody is there, and no request passes.
    public var cluster: UInt32
    public var dialect: Dialect
    /// What stands before the path of what is asked, without a slash at its end; empty for nothing.
    public var path: String
    /// Fields of the request that are told; none means all in a call, and none else beside `authorization`.
    public var requestFields: [String]
    /// Fields of the answer that the backend gets; none means all that may pass.
    public var answerFields: [String]
    /// Most bytes of content that are told; 0: none is, and it is not waited for.
    public var contentBytesMax: UInt32
    /// The metric series of what goes wrong there.
    public var series: UInt32
    /// The backend as documents name it, for people.
    public var name: String

    /// Makes a question without content.
    public init(
        cluster: UInt32, dialect: Dialect = .http, path: String = "", requestFields: [String] = [],
        answerFields: [String] = [], contentBytesMax: UInt32 = 0, series: UInt32 = 0,
        name: String = ""
    ) {
        self.cluster = cluster
        self.dialect = dialect
        self.path = path
        self.requestFields = requestFields
        self.answerFields = answerFields
        self.contentBytesMax = contentBytesMax
        self.series = series
        self.name = name
    }

    /// A path as it is put before those of requests: normal, with one slash at its beginning and none at its end.
    public static func prefix(_ path: String) -> String {
        PathMatch.stripped(prefix: PathMatch.normal(path.hasPrefix("/") ? path : "/" + path))
    }

    /// The question as a row.
    func row(_ arena: inout ArenaBuilder, _ names: inout [ArenaRange]) -> AuthorizationRow {
        func keep(_ fields: [String]) -> StepRange {
            let first = names.count
            for field in fields {
                let name = field.lowercased()
                if Self.mayPass(Array(name.utf8).span) { names.append(arena.keep(name)) }
            }
            return StepRange(start: UInt32(first), count: UInt32(names.count - first))
        }
        return AuthorizationRow(
            cluster: cluster, series: series, contentBytesMax: contentBytesMax, dialect: dialect,
            hasAnswerFields: !answerFields.isEmpty, hasRequestFields: !requestFields.isEmpty,
            key: key, path: arena.keep(path), requestFields: keep(requestFields),
            answerFields: keep(answerFields))
    }

    /// The same for equal questions only, as long as the process runs.
    private var key: UInt64 {
        var hasher = Hasher()
        hasher.combine(cluster)
        hasher.combine(dialect.rawValue)
        hasher.combine(path)
        hasher.combine(requestFields)
        hasher.combine(answerFields)
        hasher.combine(contentBytesMax)
        return UInt64(bitPattern: Int64(hasher.finalize()))
    }

    /// Whether a field may be told, or taken over from an answer, at all: none of the connection, of framing or of what is
    /// asked for.
    public static func mayPass(_ name: Span<UInt8>) -> Bool {
        let id = FieldName.recognise(name)
        return !HeaderModifier.isOwnedByGateway(id) && id != .host && id != .expect
    }
}

/// A compiled question.
public struct AuthorizationRow: BitwiseCopyable, Sendable {
    /// The stable id of the cluster; `.max` for none.
    public let cluster: UInt32
    /// The metric series.
    public let series: UInt32
    /// Most bytes of content that are told.
    public let contentBytesMax: UInt32
    public let dialect: ExternalAuthorization.Dialect
    /// Fields of the answer, and of the request, are named.
    public let hasAnswerFields: Bool
    public let hasRequestFields: Bool
    /// Another number than before: another question.
    public let key: UInt64
    let path: ArenaRange
    /// In `Table.fieldNames`.
    let requestFields: StepRange
    let answerFields: StepRange
}

extension Table {
    /// Who is asked about requests of a rule; nil where nobody is.
    public func authorization(rule: Int32) -> AuthorizationRow? {
        if rule < 0 { return nil }
        let row = rules[Int(rule)].authorization
        return row < 0 ? nil : authorizations[Int(row)]
    }

    /// Whether some request has to be authorized.
    public var authorizes: Bool { authorizations.count > 0 }

    /// Appends what stands before the path of what is asked; false when it does not fit.
    public func appendPath(
        _ row: AuthorizationRow, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        HeadWriter.append(text(row.path), into: &output)
    }

    /// Whether a field of a request is told, by its name in any letters.
    public func tells(_ row: AuthorizationRow, _ name: Span<UInt8>) -> Bool {
        if !ExternalAuthorization.mayPass(name) { return false }
        if !row.hasRequestFields, row.dialect == .grpc { return true }
        if row.dialect == .http, FieldName.recognise(name) == .authorization { return true }
        return contains(row.requestFields, name)
    }

    /// Whether a field of an answer goes to the backend, by its name in any letters.
    public func takes(_ row: AuthorizationRow, _ name: Span<UInt8>) -> Bool {
        if !ExternalAuthorization.mayPass(name) { return false }
        if row.hasAnswerFields { return contains(row.answerFields, name) }
        // What tells of the answer's own content would be taken for the request's.
        let prefix = ByteScan.bytes("content-")
        return name.count < prefix.count
            || !ByteScan.equalFolding(name.extracting(first: prefix.count), prefix)
    }

    /// Appends the name of a field of answers, by position in `answerFieldRange`; false when it does not fit.
    public func appendAnswerField(
        at index: Int, into output: inout OutputSpan<UInt8>
    ) -> Bool {
        HeadWriter.append(text(fieldNames[index]), into: &output)
    }

    /// Positions of the fields of an answer that are named.
    public func answerFieldRange(_ row: AuthorizationRow) -> Range<Int> { row.answerFields.range }

    private func contains(_ list: StepRange, _ name: Span<UInt8>) -> Bool {
        for at in list.range {
            let wanted = text(fieldNames[at])
            if wanted.count == name.count, ByteScan.equalFolding(name, wanted) { return true }
        }
        return false
    }
}
