import Foundation

/// Secret values: certificates with their keys.
public struct Secret: Resource, Codable {
    public static let kind = "Secret"
    public static let groups = [APIGroup(Groups.core, "v1")]

    /// The type of Secrets that hold `tls.crt` and `tls.key`.
    public static let tlsType = "kubernetes.io/tls"

    public var metadata: ObjectMeta
    public var type: String?
    public var immutable: Bool?
    /// Values in base64.
    public var data: [String: Data]?
    /// Values as they are; they win over `data`.
    public var stringData: [String: String]?

    /// The bytes of one value; nil when it is absent.
    public func bytes(of key: String) -> [UInt8]? {
        if let text = stringData?[key] { return Array(text.utf8) }
        return data?[key].map(Array.init)
    }
}
