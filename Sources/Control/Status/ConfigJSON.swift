import Foundation
import TLS

/// `/config`: the documents that are in use, as a List of the API, without secrets.
///
/// Values of Secrets appear as `sha256:` and the first eight digits of their digest: enough to
/// see whether two are the same.
public enum ConfigJSON {
    public static func json(_ documents: DocumentSet) -> [UInt8] {
        jsonBytes(List(items: documents.objects.map(Item.init)))
    }

    private struct List: Encodable {
        let apiVersion = "v1"
        let kind = "List"
        let items: [Item]
    }

    private struct Item: Encodable {
        let object: LocatedObject

        private enum CodingKeys: String, CodingKey {
            case apiVersion, kind, metadata
        }

        func encode(to encoder: any Encoder) throws {
            if let secret = object.resource as? Secret {
                try RedactedSecret(secret).encode(to: encoder)
            } else if let resource = object.resource as? any Encodable {
                try resource.encode(to: encoder)
            }
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(object.apiVersion, forKey: .apiVersion)
            try container.encode(object.kind, forKey: .kind)
            var metadata = object.resource.metadata
            metadata.namespace = object.namespace
            metadata.generation = object.generation
            // What kubectl keeps there is the whole object once more, secrets included.
            metadata.annotations?["kubectl.kubernetes.io/last-applied-configuration"] = nil
            try container.encode(metadata, forKey: .metadata)
        }
    }

    private struct RedactedSecret: Encodable {
        let type: String?
        let data: [String: String]

        init(_ secret: Secret) {
            type = secret.type
            var digests: [String: String] = [:]
            let keys = Set((secret.data ?? [:]).keys).union((secret.stringData ?? [:]).keys)
            for key in keys {
                let digest = TLS.Digest.sha256Hex(secret.bytes(of: key) ?? [])
                digests[key] = "sha256:\(digest.prefix(8))"
            }
            data = digests
        }
    }
}
