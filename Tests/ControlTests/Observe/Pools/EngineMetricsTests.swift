// Proves which lines of an engine's metrics page count, and that no others do.
import Inference
import Testing

@testable import Control

@Suite struct EngineMetricsTests {
    private func read(_ page: String, _ engine: EngineKind = .vllm) -> EngineMetrics {
        EngineMetrics(Array(page.utf8).span, of: engine)
    }

    private static let vllm = """
        # HELP vllm:num_requests_waiting Number of requests waiting.
        # TYPE vllm:num_requests_waiting gauge
        vllm:num_requests_waiting{engine="0",model_name="a \\"b\\", c"} 3.0
        vllm:num_requests_waiting{engine="1",model_name="x"} 2
        vllm:num_requests_waiting_total{engine="0"} 99
        vllm:num_requests_running{engine="0"} 4.0 1700000000000
        vllm:kv_cache_usage_perc{engine="0"} 0.25
        vllm:kv_cache_usage_perc{engine="1"} 7.5e-01
        vllm:cache_config_info{block_size="16",num_gpu_blocks="8192",x="y"} 1.0
        vllm:lora_requests_info{max_lora="4",running_lora_adapters="old",waiting_lora_adapters=""} 1.70e9
        vllm:lora_requests_info{max_lora="4",running_lora_adapters="sql, chat",waiting_lora_adapters="law"} 1.71e9
        vllm:lora_requests_info{max_lora="4",running_lora_adapters="older",waiting_lora_adapters=""} 1.69e9
        """

    @Test func `vLLM's page is read`() {
        let found = read(Self.vllm)
        #expect(found.waiting == 5)
        #expect(found.running == 4)
        #expect(found.kvUsage == 0.75)
        #expect(found.blockSize == 16)
        #expect(found.blockCount == 8192)
        #expect(found.loraLimit == 4)
        #expect(found.loraRunning == ["sql", "chat"])
        #expect(found.loraWaiting == ["law"])
    }

    @Test(arguments: [
        (
            EngineKind.sglang,
            "sglang:num_queue_reqs{a=\"b\"} 1\nsglang:num_running_reqs 2\nsglang:token_usage 0.5\nsglang:cache_config_info{page_size=\"64\",num_pages=\"100\"} 1\n"
        ),
        (
            .trtllm,
            "trtllm_num_requests_waiting 1\ntrtllm_num_requests_running 2\ntrtllm_kv_cache_utilization 0.5\ntrtllm_kv_cache_tokens_per_block 64\ntrtllm_kv_cache_max_blocks 100"
        ),
        (
            .triton,
            "nv_trt_llm_request_metrics{model=\"m\",request_type=\"waiting\"} 1\nnv_trt_llm_request_metrics{request_type=\"scheduled\"} 2\nnv_trt_llm_request_metrics{request_type=\"max\"} 9\nnv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"fraction\"} 0.5\nnv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"tokens_per\"} 64\nnv_trt_llm_kv_cache_block_metrics{kv_cache_block_type=\"max\"} 100\n"
        ),
    ])
    func `each engine has its names`(engine: EngineKind, page: String) {
        let found = read(page, engine)
        #expect(found.waiting == 1)
        #expect(found.running == 2)
        #expect(found.kvUsage == 0.5)
        #expect(found.blockSize == 64)
        #expect(found.blockCount == 100)
        #expect(engine == .triton || read(page, .vllm) == EngineMetrics())
    }

    @Test func `llama.cpp and NIM have less`() {
        let llama = read(
            "llamacpp:requests_deferred 1\nllamacpp:requests_processing 2\n", .llamaCpp)
        #expect(llama.waiting == 1 && llama.running == 2 && llama.kvUsage == nil)
        let nim = read(
            "num_requests_waiting 1\nnum_requests_running 2\ngpu_cache_usage_perc 0.5\n", .nim)
        #expect(nim.waiting == 1 && nim.running == 2 && nim.kvUsage == 0.5)
    }

    @Test(arguments: [
        "vllm:num_requests_waiting", "vllm:num_requests_waiting ", "vllm:num_requests_waiting NaN",
        "vllm:num_requests_waiting{a=\"b} 1", "vllm:num_requests_waiting{a=b} 1",
        "vllm:num_requests_waiting{a=\"b\" 1", "vllm:num_requests_waiting +Inf",
        "#vllm:num_requests_waiting 1", " vllm:num_requests_waiting 1", "\n\n{}",
    ])
    func `what is malformed says nothing`(page: String) {
        #expect(read(page).waiting == nil)
    }

    @Test func `a page that is cut anywhere does no harm`() {
        let bytes = Array(Self.vllm.utf8)
        for count in 0...bytes.count {
            let found = EngineMetrics(bytes.span.extracting(0..<count), of: .vllm)
            #expect((found.waiting ?? 0) <= 5)
        }
    }
}
