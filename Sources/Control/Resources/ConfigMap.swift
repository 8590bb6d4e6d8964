import Foundation

/// Values without secrecy: CA certificates under `ca.crt`.
public struct ConfigMap: Resource, Codable {
    public static let kind = "ConfigMap"
    public static let groups = [APIGroup(Groups.core, "v1")]

    public var metadata: ObjectMeta
    public var immutable: Bool?
    public var data: [String: String]?
    /// Values in base64.
    public var binaryData: [String: Data]?

    /// The bytes of one value; nil when it is absent.
    public func bytes(of key: String) -> [UInt8]? {
        if let text = data?[key] { return Array(text.utf8) }
        return binaryData?[key].map(Array.init)
    }
}
