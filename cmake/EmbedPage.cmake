# Puts a web page's style and script into its HTML, and the whole into a C array:
# cmake -DHTML=FILES -DSTYLES=FILES -DSCRIPTS=FILES -DNAME=page_kept -DOUTPUT=FILE.c -P EmbedPage.cmake
# The files of each kind follow one another. HTML holds the markers @STYLE@ and @SCRIPT@; @DATA@ is left for the program. Works on hexadecimal digits throughout: CMake
# would take semicolons and brackets in the files for its own.
function(read_all files out)
    set(all "")
    foreach(file IN LISTS files)
        file(READ "${file}" bytes HEX)
        string(APPEND all "${bytes}")
    endforeach()
    set(${out} "${all}" PARENT_SCOPE)
endfunction()

read_all("${HTML}" html)
read_all("${STYLES}" style)
read_all("${SCRIPTS}" script)
string(HEX "@STYLE@" style_marker)
string(HEX "@SCRIPT@" script_marker)
string(REPLACE "${style_marker}" "${style}" html "${html}")
string(REPLACE "${script_marker}" "${script}" html "${html}")
string(LENGTH "${html}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "(................................................................)" "\\1\n" lines "${html}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," lines "${lines}")
file(WRITE "${OUTPUT}" "#include \"report/page.h\"\n\nstatic const unsigned char BYTES[] = {\n${lines}\n};\n"
     "const page ${NAME} = {BYTES, ${size}};\n")
