# Puts a web page's style and script into its HTML, and the whole into a C value of the type page (report/page.h):
# cmake -DHTML=FILES -DSTYLES=FILES -DSCRIPTS=FILES -DNAME=page_kept -DOUTPUT=FILE.c -P EmbedPage.cmake
# The files of each kind follow one another. HTML holds the markers @STYLE@ and @SCRIPT@; @DATA@ is left for the program.
# Works on hexadecimal digits throughout: CMake would take semicolons and brackets in the files for its own.
function(read_all files out)
    set(all "")
    foreach(file IN LISTS files)
        file(READ "${file}" bytes HEX)
        string(APPEND all "${bytes}")
    endforeach()
    set(${out} "${all}" PARENT_SCOPE)
endfunction()

# The files' hash, as a Content-Security-Policy has it: in base64, three hexadecimal digits for two characters.
function(hash_all files out)
    set(all "")
    foreach(file IN LISTS files)
        file(READ "${file}" text)
        string(APPEND all "${text}")
    endforeach()
    string(SHA256 digits "${all}")
    string(APPEND digits "00")
    set(alphabet "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
    set(base64 "")
    foreach(at RANGE 0 63 3)
        string(SUBSTRING "${digits}" ${at} 3 three)
        math(EXPR high "0x${three} >> 6")
        math(EXPR low "0x${three} & 63")
        foreach(value ${high} ${low})
            string(SUBSTRING "${alphabet}" ${value} 1 character)
            string(APPEND base64 "${character}")
        endforeach()
    endforeach()
    string(SUBSTRING "${base64}" 0 43 base64) # 32 bytes
    set(${out} "'sha256-${base64}='" PARENT_SCOPE)
endfunction()

read_all("${HTML}" html)
read_all("${STYLES}" style)
read_all("${SCRIPTS}" script)
hash_all("${STYLES}" style_hash)
hash_all("${SCRIPTS}" script_hash)
string(HEX "@STYLE@" style_marker)
string(HEX "@SCRIPT@" script_marker)
string(REPLACE "${style_marker}" "${style}" html "${html}")
string(REPLACE "${script_marker}" "${script}" html "${html}")
string(LENGTH "${html}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "(................................................................)" "\\1\n" lines "${html}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," lines "${lines}")
string(CONCAT security
             "default-src 'none'; style-src ${style_hash}; script-src ${script_hash}; connect-src 'self'; img-src data:; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'")
file(WRITE "${OUTPUT}" "#include \"report/page.h\"\n\nstatic const unsigned char BYTES[] = {\n${lines}\n};\n"
     "const page ${NAME} = {BYTES, ${size}, \"${security}\"};\n")
