# Which ggml and libllama an installed judgeq uses. Those that tools/deps.sh built are in the home of whoever built them: they
# are installed too, into a folder of judgeq's own, so that the cache can go, other users can run the command, the tree can be
# moved, and a system's ggml of another version is not disturbed. Those of the system, or of a prefix that was named, stay
# where they are.
#
# Defines JUDGEQ_BUNDLE_GGML, JUDGEQ_LIBRARY_RPATH and CMAKE_INSTALL_RPATH (where installed libraries and programs look),
# JUDGEQ_PRIVATE_LIBS (file names of what is installed) and JUDGEQ_PC_LIBS (what a linker needs beside the static library).

set(JUDGEQ_PRIVATE_LIBDIR "${CMAKE_INSTALL_LIBDIR}/judgeq")
# tools/package.sh names a folder with kernels for any CPU; the machine's own are for this CPU.
set(JUDGEQ_CPU_KERNELS "" CACHE PATH "Folder with a libggml-cpu.so.0 to install instead of the one that was linked")

set(ours OFF)
if(JUDGEQ_DEPS_PREFIX AND CMAKE_SYSTEM_NAME STREQUAL "Linux")
    string(FIND "${ggml_DIR}/" "${JUDGEQ_DEPS_PREFIX}/" at)
    if(at EQUAL 0)
        set(ours ON)
    endif()
endif()
option(JUDGEQ_BUNDLE_GGML "Install ggml and libllama with judgeq" ${ours})

file(RELATIVE_PATH libdir_from_bindir "/${CMAKE_INSTALL_BINDIR}" "/${CMAKE_INSTALL_LIBDIR}")
set(CMAKE_INSTALL_RPATH "$ORIGIN/${libdir_from_bindir}")
set(JUDGEQ_LIBRARY_RPATH "")
set(JUDGEQ_PRIVATE_LIBS "")
if(NOT JUDGEQ_BUNDLE_GGML)
    set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
    set(JUDGEQ_PC_LIBS "-L${GGML_LIB_DIR} -lllama-common -lllama -lggml -lggml-base")
    return()
endif()
list(APPEND CMAKE_INSTALL_RPATH "$ORIGIN/${libdir_from_bindir}/judgeq")
set(JUDGEQ_LIBRARY_RPATH "$ORIGIN/judgeq")

# Under the names that programs ask for (libllama.so.0); the others are links to them, or copies.
get_filename_component(libraries_from "${llama_LIBRARY}" DIRECTORY)
set(JUDGEQ_PC_LIBS "-L\${libdir}/judgeq -Wl,-rpath,\${libdir}/judgeq")
file(GLOB candidates "${libraries_from}/libggml*.so.*" "${libraries_from}/libllama*.so.*")
list(FILTER candidates INCLUDE REGEX "\\.so\\.[0-9]+$")
foreach(candidate IN LISTS candidates)
    get_filename_component(name "${candidate}" NAME)
    list(APPEND JUDGEQ_PRIVATE_LIBS "${name}")
    string(APPEND JUDGEQ_PC_LIBS " -l:${name}")
    if(NOT (JUDGEQ_CPU_KERNELS AND name MATCHES "^libggml-cpu"))
        get_filename_component(file "${candidate}" REALPATH)
        install(FILES "${file}" DESTINATION "${JUDGEQ_PRIVATE_LIBDIR}" RENAME "${name}")
    endif()
endforeach()
if(NOT JUDGEQ_PRIVATE_LIBS)
    message(FATAL_ERROR "JUDGEQ_BUNDLE_GGML: no shared libraries of ggml in ${libraries_from}; turn it off")
endif()
if(JUDGEQ_CPU_KERNELS)
    install(DIRECTORY "${JUDGEQ_CPU_KERNELS}/" DESTINATION "${JUDGEQ_PRIVATE_LIBDIR}" FILES_MATCHING PATTERN "*.so*")
endif()
