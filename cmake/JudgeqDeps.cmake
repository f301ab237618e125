# Finds ggml and libllama in versions that judgeq was tested with: under CMAKE_PREFIX_PATH, in the prefix that
# tools/deps.sh built, or in the system, in this order. ggml's own version check accepts any 0.x, although minor versions
# change its API, so each tested version is asked for by name. To try another: run ./test.sh with it, then add it here.
#
# Defines the imported targets ggml::ggml, llama and llama-common, and JUDGEQ_DEPS_FOUND; says in JUDGEQ_DEPS_MISSING what
# is wrong.

set(JUDGEQ_TESTED_GGML 0.25.3)
set(JUDGEQ_TESTED_LLAMA 0.5.0)

# The prefix of this machine, or nothing. The probe of tools/deps.sh sets it empty: only the system counts there.
if(NOT DEFINED JUDGEQ_DEPS_PREFIX)
    execute_process(
        COMMAND "${CMAKE_CURRENT_LIST_DIR}/../tools/deps.sh" --print-prefix
        OUTPUT_VARIABLE JUDGEQ_DEPS_PREFIX
        OUTPUT_STRIP_TRAILING_WHITESPACE)
    # A build folder that was configured with another prefix (other CMAKE_ARGS, another machine) forgets it.
    if(DEFINED CACHE{JUDGEQ_DEPS_PREFIX_SEEN} AND NOT JUDGEQ_DEPS_PREFIX STREQUAL JUDGEQ_DEPS_PREFIX_SEEN)
        unset(ggml_DIR CACHE)
        unset(llama_DIR CACHE)
        unset(llama_LIBRARY CACHE)
        unset(llama_common_LIBRARY CACHE)
        unset(llama_common_INCLUDE_DIR CACHE)
    endif()
    set(JUDGEQ_DEPS_PREFIX_SEEN "${JUDGEQ_DEPS_PREFIX}" CACHE INTERNAL "")
endif()

set(JUDGEQ_DEPS_FOUND FALSE)
foreach(version IN LISTS JUDGEQ_TESTED_GGML)
    if(NOT ggml_FOUND)
        find_package(ggml ${version} EXACT CONFIG QUIET HINTS "${JUDGEQ_DEPS_PREFIX}")
    endif()
endforeach()
if(NOT ggml_FOUND)
    set(JUDGEQ_DEPS_MISSING "ggml ${JUDGEQ_TESTED_GGML} (versions found: \"${ggml_CONSIDERED_VERSIONS}\")")
    return()
endif()

find_package(llama CONFIG QUIET HINTS "${ggml_DIR}/../llama")
string(REGEX MATCH "^[0-9.]+" JUDGEQ_LLAMA_VERSION "${llama_VERSION}") # without the "-dev" of "0.5.0-dev"
if(NOT JUDGEQ_LLAMA_VERSION IN_LIST JUDGEQ_TESTED_LLAMA)
    set(JUDGEQ_DEPS_MISSING "libllama ${JUDGEQ_TESTED_LLAMA} (version found: \"${llama_VERSION}\")")
    return()
endif()

# Templates, tool calls and grammars. It changes with every version, so it must be the one built with that libllama;
# packages leave its headers out, tools/deps.sh puts them into its prefix.
find_library(llama_common_LIBRARY llama-common PATHS "${LLAMA_LIB_DIR}" NO_DEFAULT_PATH)
find_path(llama_common_INCLUDE_DIR common/chat.h PATHS "${LLAMA_INCLUDE_DIR}/llama-common" NO_DEFAULT_PATH)
if(NOT llama_common_LIBRARY)
    set(JUDGEQ_DEPS_MISSING "libllama-common, which belongs beside libllama in ${LLAMA_LIB_DIR}")
    return()
endif()
if(NOT llama_common_INCLUDE_DIR)
    set(JUDGEQ_DEPS_MISSING "the headers of libllama-common, as ${LLAMA_INCLUDE_DIR}/llama-common/common/chat.h")
    return()
endif()
if(NOT TARGET llama-common)
    add_library(llama-common UNKNOWN IMPORTED)
    # Its file has no run path: a program that links it finds what it needs only by a run path and a link of its own.
    set_target_properties(llama-common PROPERTIES IMPORTED_LOCATION "${llama_common_LIBRARY}"
                          INTERFACE_INCLUDE_DIRECTORIES "${llama_common_INCLUDE_DIR}" INTERFACE_LINK_LIBRARIES llama
                          INTERFACE_LINK_OPTIONS "LINKER:--no-as-needed")
endif()
set(JUDGEQ_DEPS_FOUND TRUE)
