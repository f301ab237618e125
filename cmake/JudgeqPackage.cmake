# The Debian package. tools/package.sh sets JUDGEQ_PACKAGE, and with it what an installed tree needs to be a good one: the
# licences of what it holds, a changelog, compressed pages, no path of the machine that built it.

option(JUDGEQ_PACKAGE "Install as a Debian package wants it" OFF)
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME judgeq)
set(CPACK_PACKAGE_VENDOR "the judgeq authors")
# Whoever builds packages for others names themselves, here or as Debian's tools are told.
set(maintainer "the judgeq authors <judgeq@localhost>")
if(DEFINED ENV{DEBEMAIL})
    set(maintainer "$ENV{DEBFULLNAME} <$ENV{DEBEMAIL}>")
endif()
set(JUDGEQ_MAINTAINER "${maintainer}" CACHE STRING "Maintainer of the Debian package")
set(CPACK_PACKAGE_CONTACT "${JUDGEQ_MAINTAINER}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "language models in a fixed amount of KV cache")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
"Reads a long prompt with a GGUF model, keeps a chosen number of rows of its KV
cache, and answers from them. Which rows is decided by trained queries (Judge
Q), by looking ahead, or by SnapKV, PyramidKV, Ada-KV, H2O, TOVA, StreamingLLM.
.
The package holds the command, the library with its header, the judge of
SmolLM2-135M-Instruct, documents, completions for bash and zsh, and in a folder
of its own ggml and libllama, with kernels for any processor of the
architecture; on amd64 faster ones are used from x86-64-v3 (AVX2) and x86-64-v4
(AVX-512) on.")
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_RECOMMENDS gnuplot-nox)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "libjansson-dev, libxxhash-dev, libunistring-dev, libdnnl-dev")
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS "${GGML_LIB_DIR}" "${PROJECT_BINARY_DIR}")
# What other packages may link with is libjudgeq alone; CPack would name ggml and libllama too.
file(WRITE "${PROJECT_BINARY_DIR}/debian/shlibs"
     "libjudgeq ${PROJECT_VERSION_MAJOR}.${PROJECT_VERSION_MINOR} judgeq (>= ${PROJECT_VERSION})\n")
file(WRITE "${PROJECT_BINARY_DIR}/debian/triggers" "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${PROJECT_BINARY_DIR}/debian/shlibs" "${PROJECT_BINARY_DIR}/debian/triggers")
set(CPACK_STRIP_FILES ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
include(CPack)

if(NOT JUDGEQ_PACKAGE)
    return()
endif()
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC) # SOURCE_DATE_EPOCH where it is set
file(WRITE "${PROJECT_BINARY_DIR}/changelog"
     "judgeq (${PROJECT_VERSION}) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- ${JUDGEQ_MAINTAINER}  ${date}\n")
file(READ LICENSE licence)
file(READ "${JUDGEQ_CPU_KERNELS}/LICENSES" licences)
file(WRITE "${PROJECT_BINARY_DIR}/copyright"
     "judgeq:\n\n${licence}\nggml and libllama, in a folder of judgeq's own, and what they hold:\n${licences}")
install(FILES "${PROJECT_BINARY_DIR}/copyright" "${PROJECT_BINARY_DIR}/changelog" TYPE DOC)
install(FILES tools/serve/judgeq.service DESTINATION lib/systemd/system) # not enabled: it needs a model first
install(CODE "
    file(GLOB pages \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_MANDIR}/man1/*.1\")
    execute_process(COMMAND gzip -9nf \${pages} \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DOCDIR}/changelog\"
                    COMMAND_ERROR_IS_FATAL ANY)
")
