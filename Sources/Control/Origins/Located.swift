/// A kind of the API: what a document's `apiVersion` and `kind` select.
///
/// The types keep the API's own names and fields. Whoever adds a kind writes one type and lists
/// it in the program's `KindRegistry`.
public protocol Resource: Decodable, Sendable {
    /// The `kind` of documents, for example `HTTPRoute`.
    static var kind: String { get }
    /// The groups and versions under which documents of this kind are read, newest first.
    static var groups: [APIGroup] { get }
    /// Whether objects live in a namespace; true unless said otherwise.
    static var isNamespaced: Bool { get }

    var metadata: ObjectMeta { get }
}

extension Resource {
    public static var isNamespaced: Bool { true }
}

/// An API group with the versions of it that a kind is read in.
public struct APIGroup: Hashable, Sendable {
    /// Empty for the core group (`apiVersion: v1`).
    public let name: String
    public let versions: [String]

    public init(_ name: String, _ versions: String...) {
        self.name = name
        self.versions = versions
    }
}

/// Marks a type whose fields are declared only as far as this program uses them (a Pod's spec, a
/// Service's): fields that it does not declare are then no problem, here and in what it contains.
public protocol PartlyDeclared: Decodable {}

/// The part of every object that names it.
public struct ObjectMeta: Decodable, Hashable, Sendable, PartlyDeclared {
    public var name: String
    /// As written; `LocatedObject.namespace` has the default filled in.
    public var namespace: String?
    public var labels: [String: String]?
    public var annotations: [String: String]?
    public var generation: Int?
    public var creationTimestamp: Timestamp?
    public var uid: String?
    public var resourceVersion: String?

    public init(
        name: String, namespace: String? = nil, labels: [String: String]? = nil,
        annotations: [String: String]? = nil, generation: Int? = nil,
        creationTimestamp: Timestamp? = nil
    ) {
        self.name = name
        self.namespace = namespace
        self.labels = labels
        self.annotations = annotations
        self.generation = generation
        self.creationTimestamp = creationTimestamp
    }

    private enum Field: String, CodingKey, CaseIterable {
        case name, namespace, labels, annotations, generation, creationTimestamp, uid
        case resourceVersion
    }

    // Written out: the compiler's own version fails to compile when an extension in another file
    // makes the type `Encodable` with coding keys of its own (Swift 6.3.1).
    public init(from decoder: any Decoder) throws {
        let fields = try decoder.container(keyedBy: Field.self)
        name = try fields.decode(String.self, forKey: .name)
        namespace = try fields.decodeIfPresent(String.self, forKey: .namespace)
        labels = try fields.decodeIfPresent([String: String].self, forKey: .labels)
        annotations = try fields.decodeIfPresent([String: String].self, forKey: .annotations)
        generation = try fields.decodeIfPresent(Int.self, forKey: .generation)
        creationTimestamp = try fields.decodeIfPresent(Timestamp.self, forKey: .creationTimestamp)
        uid = try fields.decodeIfPresent(String.self, forKey: .uid)
        resourceVersion = try fields.decodeIfPresent(String.self, forKey: .resourceVersion)
    }
}

/// The kinds that this program reads.
public struct KindRegistry: Sendable {
    private var types: [String: [any Resource.Type]] = [:]

    public init(_ types: [any Resource.Type]) {
        for type in types { self.types[type.kind, default: []].append(type) }
    }

    /// What a document's `apiVersion` and `kind` mean here.
    public enum Match {
        case type(any Resource.Type)
        /// The kind is known in this group, but not in this version; `versions` are those known.
        case unknownVersion(versions: [String])
        case unknown
    }

    /// Finds the type for a group (empty: core), version and kind.
    public func match(group: String, version: String, kind: String) -> Match {
        var versions: [String] = []
        for type in types[kind] ?? [] {
            for candidate in type.groups where candidate.name == group {
                if candidate.versions.contains(version) { return .type(type) }
                versions += candidate.versions
            }
        }
        return versions.isEmpty ? .unknown : .unknownVersion(versions: versions)
    }

    /// What a kind that is not known was probably meant to be: a kind of that group with a
    /// similar name, or the kind of that name in a group with a similar name.
    func nearestKind(to kind: String, group: String) -> String? {
        let inGroup = types.values.joined().filter { $0.groups.contains { $0.name == group } }
        if let meant = NearestName.suggestion(for: kind, among: inGroup.map { $0.kind }.sorted()) {
            return meant
        }
        let groups = (types[kind] ?? []).flatMap { $0.groups.map(\.name) }
        return NearestName.suggestion(for: group, among: groups).map { "\(kind) of \($0)" }
    }
}

/// One object with the place that it was read from.
///
/// It is passed on often and by value, so what was read stands in one place that all copies share.
public struct LocatedObject: Sendable {
    private final class Reading: Sendable {
        let apiVersion: String
        let group: String
        let key: ObjectKey
        let namespace: String?
        let resource: any Resource
        let position: SourcePosition
        let positions: FieldPositions
        let digest: UInt64
        let declaredDigest: UInt64

        init(
            _ apiVersion: String, _ kind: String, _ namespace: String?, _ name: String,
            _ resource: any Resource, _ position: SourcePosition, _ positions: FieldPositions,
            _ digest: UInt64, _ declaredDigest: UInt64
        ) {
            self.apiVersion = apiVersion
            group = APIVersion(apiVersion).group
            key = ObjectKey(kind: kind, group: group, namespace: namespace ?? "", name: name)
            self.namespace = namespace
            self.resource = resource
            self.position = position
            self.positions = positions
            self.digest = digest
            self.declaredDigest = declaredDigest
        }
    }

    private let reading: Reading
    /// `metadata.generation` when given; else 1, and 1 more for each change of what the object
    /// declares (everything but `metadata` and `status`) while the process runs.
    public internal(set) var generation: Int

    /// An object as it was read; `digest` and `declaredDigest` are those below.
    init(
        apiVersion: String, kind: String, namespace: String?, name: String, resource: any Resource,
        generation: Int, position: SourcePosition, positions: FieldPositions, digest: UInt64,
        declaredDigest: UInt64
    ) {
        reading = Reading(
            apiVersion, kind, namespace, name, resource, position, positions, digest, declaredDigest
        )
        self.generation = generation
    }

    /// As written, for example `gateway.networking.k8s.io/v1`.
    public var apiVersion: String { reading.apiVersion }
    /// The group of `apiVersion`, empty for core.
    public var group: String { reading.group }
    public var kind: String { reading.key.kind }
    /// `default` when the document leaves it out; nil for kinds that belong to the whole cluster.
    public var namespace: String? { reading.namespace }
    public var name: String { reading.key.name }
    /// What it is known by among all objects.
    var key: ObjectKey { reading.key }
    public var resource: any Resource { reading.resource }
    /// Where the document begins: its first field.
    public var position: SourcePosition { reading.position }
    /// Where each field of the document stands.
    public var positions: FieldPositions { reading.positions }
    /// A digest of the document's content, metadata and status included.
    ///
    /// Equal digests: nothing changed but layout, comments and the order of fields.
    public var digest: UInt64 { reading.digest }
    /// A digest of what the object declares: without `metadata` and `status`.
    public var declaredDigest: UInt64 { reading.declaredDigest }

    public var reference: ObjectReference {
        ObjectReference(kind: kind, namespace: namespace, name: name)
    }

    /// The place of a field, or of the nearest field around it that the document has.
    ///
    /// The path is written as in `ConfigProblem.fieldPath`, for example `spec.rules[0].name`.
    public func position(of fieldPath: String) -> SourcePosition {
        positions[fieldPath] ?? position
    }

    /// A problem of this object, at the place of one of its fields.
    public func problem(
        _ severity: ConfigProblem.Severity = .error, at fieldPath: String = "", reason: String,
        _ message: String
    ) -> ConfigProblem {
        ConfigProblem(
            severity, at: position(of: fieldPath), object: reference, fieldPath: fieldPath,
            reason: reason, message: message)
    }

    /// The API's order of age: by `creationTimestamp`, objects without one last, then by
    /// namespace and name.
    public func isOlder(than other: LocatedObject) -> Bool {
        let created = resource.metadata.creationTimestamp
        let otherCreated = other.resource.metadata.creationTimestamp
        switch (created, otherCreated) {
        case (let a?, let b?) where a != b: return a < b
        case (_?, nil): return true
        case (nil, _?): return false
        default: return (namespace ?? "", name) < (other.namespace ?? "", other.name)
        }
    }
}

/// Everything that the documents say at one moment.
public struct DocumentSet: Sendable {
    /// Sorted by kind, group, namespace and name; no two have all four in common.
    public var objects: [LocatedObject]
    /// What is wrong with the documents, sorted by place.
    public var problems: [ConfigProblem]
    /// Files and folders whose text could not be read; why is among the problems.
    ///
    /// What was read from them before is still among the objects. At the start a reason not to
    /// serve.
    public var unreadPaths: [String]
    /// BackendTLSPolicies that are not used: what they are about must not be spoken to in the clear instead.
    var refusedPolicies: [RefusedPolicy] = []
    /// Namespaces whose documents were refused and have no earlier version: nobody knows their labels.
    var unreadNamespaces: Set<String> = []

    public init(
        objects: [LocatedObject] = [], problems: [ConfigProblem] = [], unreadPaths: [String] = []
    ) {
        self.objects = objects
        self.problems = problems
        self.unreadPaths = unreadPaths
    }
}

/// A BackendTLSPolicy that is not used as it is written, which closes what it is about.
struct RefusedPolicy: Sendable {
    /// Of one that cannot be read: its name, and as many of its targets as can be told.
    let object: LocatedObject
    /// Why it is not used, as the end of a sentence.
    let cause: String
    /// Targets that cannot be told, and so are not closed.
    var untold: [ConfigProblem] = []
    /// It closes nothing where a version of it is used.
    var yields = false
}

/// An `apiVersion` taken apart: `group/version`, or a version of the core group.
struct APIVersion {
    let group: String
    let version: String

    init(_ text: String) {
        if let slash = text.firstIndex(of: "/") {
            group = String(text[..<slash])
            version = String(text[text.index(after: slash)...])
        } else {
            group = ""
            version = text
        }
    }
}
