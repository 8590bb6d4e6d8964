/// The field that says which model a request names, for matches: the gateway sets it from the content, over
/// whatever the client sent, where a match of the listener asks for it (body-based routing).
public enum ModelField {
    /// In small letters.
    public static let name = "x-gateway-model-name"

    /// Whether a match of the listener asks for the field.
    static func isAsked(for listener: ListenerDescription) -> Bool {
        listener.service == .http
            && listener.matches.contains { match in
                match.headers.contains { $0.name.lowercased() == name }
            }
    }
}
