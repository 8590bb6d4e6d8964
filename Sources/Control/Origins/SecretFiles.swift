import Foundation

/// Fills a Secret's `data` as the API server and its tools would: from `stringData`, and from the
/// files that its annotations name.
///
/// A Secret that is written by hand need not contain base64, and one for a certificate that
/// another program renews can name the files. Paths are relative to the document's folder.
struct SecretFiles {
    /// The annotations, with the field of `data` that each stands for.
    static let annotations = [
        "ai-gateway.dev/certificate-file": "tls.crt",
        "ai-gateway.dev/key-file": "tls.key",
    ]

    let file: String
    let log: DecodingLog
    /// The files looked at, with their state; nil when there was none.
    private(set) var attachments: [String: FileStamp?] = [:]

    init(file: String, log: DecodingLog) {
        self.file = file
        self.log = log
    }

    /// Adds to `data` what the annotations' files hold and what `stringData` says; of values for
    /// the same field `stringData` wins, then the files.
    mutating func fill(_ root: inout DocumentNode) {
        var additions = fileMembers(of: root)
        if case .mapping(let members)? = root["stringData"]?.content {
            additions += members.compactMap(encoded)
        }
        if !additions.isEmpty { add(additions, to: &root) }
    }

    private mutating func fileMembers(of root: DocumentNode) -> [DocumentNode.Member] {
        guard let metadata = root.member("metadata"),
            let annotations = metadata.value.member("annotations"),
            case .mapping(let members) = annotations.value.content
        else { return [] }
        let place = DecodingPlace(root: root).member(metadata).member(annotations)
        var result: [DocumentNode.Member] = []
        for member in members {
            guard let key = Self.annotations[member.key], let path = member.value.text,
                let bytes = read(path, at: place.member(member))
            else { continue }
            result.append(Self.member(key, bytes, at: member.mark))
        }
        return result
    }

    /// A member of `stringData` as `data` has it; a value that is no text is left for decoding
    /// to refuse.
    private func encoded(_ member: DocumentNode.Member) -> DocumentNode.Member? {
        guard case .scalar(let scalar) = member.value.content, scalar.type == .text else {
            return nil
        }
        return Self.member(member.key, Array(scalar.text.utf8), at: member.mark)
    }

    private static func member(
        _ key: String, _ bytes: [UInt8], at mark: TextMark
    ) -> DocumentNode.Member {
        let text = Data(bytes).base64EncodedString()
        let value = DocumentNode(.scalar(Scalar(text: text, isPlain: false)), at: mark)
        return DocumentNode.Member(key: key, keyMark: mark, value: value)
    }

    private mutating func read(_ path: String, at place: DecodingPlace) -> [UInt8]? {
        let path = FileSystem.path(path, relativeTo: file)
        let entry = FileEntry(path: path)
        attachments[path] = .some(entry?.stamp)
        do throws(FileFailure) {
            if let entry, entry.type != .regular { throw FileFailure("it is not a file") }
            return try FileSystem.read(path, bytesMax: DocumentLimits.secretFileBytesMax)
        } catch {
            log.append(
                place.problem(error.reason, "\(path) cannot be read: \(error.message)"))
            return nil
        }
    }

    private func add(_ additions: [DocumentNode.Member], to root: inout DocumentNode) {
        guard case .mapping(var members) = root.content else { return }
        var index = members.firstIndex { $0.key == "data" && !$0.value.isNull }
        if index == nil {
            members.removeAll { $0.key == "data" }
            let mark = additions[0].mark
            members.append(
                DocumentNode.Member(
                    key: "data", keyMark: mark, value: DocumentNode(.mapping([]), at: mark)))
            index = members.count - 1
        }
        guard let index, case .mapping(var data) = members[index].value.content else { return }
        for addition in additions {
            data.removeAll { $0.key == addition.key }
            data.append(addition)
        }
        members[index].value.content = .mapping(data)
        root.content = .mapping(members)
    }
}
