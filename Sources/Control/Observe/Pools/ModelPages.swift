import Foundation
import Inference

/// A model as an endpoint tells of it.
struct KnownModel: Equatable, Sendable {
    var name: String
    /// Bytes in all, and of them in video memory; 0 unknown.
    var size: UInt64 = 0
    var sizeVRAM: UInt64 = 0
    /// Seconds since 1970; nil: not told.
    var expiresAt: Int64?
    /// A router's word for it, such as `loaded`.
    var state: String?
}

/// The pages of model servers that list models.
enum ModelPages {
    /// Ollama's `/api/ps` and `/api/tags`; nil when the page is no such list.
    static func ollama(_ page: Data) -> [KnownModel]? {
        struct Page: Decodable {
            struct Model: Decodable {
                var name: String?
                var model: String?
                var size: Double?
                var size_vram: Double?
                var expires_at: String?
            }
            /// Null while there is none.
            var models: [Model]?
        }
        guard let page = try? JSONDecoder().decode(Page.self, from: page) else { return nil }
        return (page.models ?? []).compactMap { model in
            guard let name = model.name ?? model.model else { return nil }
            return KnownModel(
                name: name, size: bytes(model.size), sizeVRAM: bytes(model.size_vram),
                expiresAt: model.expires_at.flatMap { Timestamp($0)?.seconds })
        }
    }

    /// llama.cpp's `/models` as a router has it; nil when the server is none, and so has one model for all names.
    static func router(_ page: Data) -> [KnownModel]? {
        struct Page: Decodable {
            struct Status: Decodable {
                var value: String?
                var failed: Bool?
            }
            struct Model: Decodable {
                var id: String
                var status: Status?
            }
            var data: [Model]
        }
        guard let page = try? JSONDecoder().decode(Page.self, from: page),
            page.data.contains(where: { $0.status != nil })
        else { return nil }
        return page.data.map { model in
            let isFailed = model.status?.failed ?? false
            return KnownModel(
                name: model.id, state: isFailed ? "failed" : model.status?.value ?? "unknown")
        }
    }

    /// The names of an OpenAI list of models (`/v1/models`); nil when the page is none.
    static func openAI(_ page: Data) -> [KnownModel]? {
        struct Page: Decodable {
            struct Model: Decodable { var id: String }
            var data: [Model]
        }
        guard let page = try? JSONDecoder().decode(Page.self, from: page) else { return nil }
        return page.data.map { KnownModel(name: $0.id) }
    }

    /// The text of `{"version": …}`.
    static func version(_ page: Data) -> String? {
        struct Page: Decodable { var version: String }
        return (try? JSONDecoder().decode(Page.self, from: page))?.version
    }

    private static func bytes(_ number: Double?) -> UInt64 {
        number.flatMap { UInt64(exactly: $0.rounded()) } ?? 0
    }
}
