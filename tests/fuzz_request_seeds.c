/* fuzz_request_seeds: requests that use every field, for fuzz_request: fuzz_request_seeds FOLDER. */
#include <stdio.h>

static const char *const SEEDS[] = {
    "0{\"messages\":[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"user\",\"content\":[{\"type\":\"text\","
    "\"text\":\"b\"}]},"
    "{\"role\":\"assistant\",\"content\":\"c\"}],\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":"
    "true},"
    "\"n\":2,\"seed\":7,\"temperature\":0.5,\"top_p\":0.9,\"top_k\":-1,\"min_p\":0.1,\"max_tokens\":8,\"logprobs\":"
    "true,"
    "\"top_logprobs\":3,\"stop\":[\"x\",\"<|im_end|>\"],\"chat_template_kwargs\":{\"enable_thinking\":false}}",
    "0{\"messages\":[{\"role\":\"developer\",\"content\":null},{\"role\":\"user\",\"content\":\"<|im_start|>\"}],"
    "\"judgeq\":{\"policy\":\"snapkv,keep=recent:8\",\"budget\":\"10%\"},\"presence_penalty\":1,\"frequency_penalty\":-"
    "1,"
    "\"repeat_penalty\":1.1,\"max_completion_tokens\":3,\"reasoning_effort\":\"none\",\"tools\":[],\"tool_choice\":"
    "\"none\"}",
    "0{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],\"judgeq\":{\"context\":\"a.kv\"},\"response_format\":{"
    "\"type\":"
    "\"text\"},\"logit_bias\":{}}",
    "4{\"messages\":[{\"role\":\"assistant\",\"thinking\":\"b\",\"tool_calls\":[{\"function\":{\"name\":\"f\","
    "\"arguments\":{}}}]},{\"role\":\"tool\",\"tool_name\":\"f\",\"content\":\"a\"}],\"think\":\"low\",\"format\":{},"
    "\"options\":{\"num_predict\":3,\"stop\":[\"x\"],\"top_k\":1}}",
    "6{\"prompt\":\"a\",\"system\":\"b\",\"format\":\"json\",\"think\":false,\"stream\":false,\"options\":{\"seed\":1}"
    "}",
    "1{\"prompt\":[[1,2,3],[4]],\"logprobs\":2,\"best_of\":1,\"suffix\":\"\",\"judgeq\":{\"budget\":64}}",
    "1{\"prompt\":[\"a\",\"b\"],\"echo\":true,\"stop\":\"a\",\"n\":3}",
    "1{\"prompt\":[5,6,7],\"echo\":true,\"max_tokens\":0}",
    "1{\"prompt\":\"\\u00e4\\ud83d\\ude00\",\"seed\":-9223372036854775808}",
};

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    for (size_t i = 0; i < sizeof SEEDS / sizeof *SEEDS; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/seed-%zu", argv[1], i);
        FILE *file = fopen(path, "wb");
        if (!file) return 1;
        const int written = fputs(SEEDS[i], file);
        if (fclose(file) != 0 || written < 0) return 1;
    }
    return 0;
}
