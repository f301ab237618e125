#!/usr/bin/env bash
# The text that judges are trained on, from Debian's packages: tools/judge_text.sh FOLDER leaves it in FOLDER/text, and
# the packages' names with their versions in FOLDER/versions. Nothing is installed. Needs a Debian with apt.
set -euo pipefail
mkdir -p "${1:?which folder?}"
cd "$1"
if [ -e text ]; then exit; fi

packages=(debian-handbook developers-reference debian-faq debian-reference-en jargon-text python3.11-doc maint-guide
    html2text)
rm -rf text.part
mkdir -p packages root
(cd packages && apt-get -qq download "${packages[@]}")
for package in packages/*.deb; do dpkg -x "$package" root; done
ls packages >versions
mkdir -p text.part/{handbook,debian,jargon,python}
for page in root/usr/share/doc/debian-handbook/html/en-US/*.html; do
    root/usr/bin/html2text -utf8 -nobs -style pretty -width 100000 "$page" \
        >"text.part/handbook/$(basename "$page" .html).txt"
done
cp root/usr/share/developers-reference/_sources/*.rst.txt text.part/debian
gunzip -c root/usr/share/doc/maint-guide/maint-guide.en.txt.gz >text.part/debian/maint-guide.txt
gunzip -c root/usr/share/doc/debian/FAQ/debian-faq.en.txt.gz >text.part/debian/faq.txt
gunzip -c root/usr/share/debian-reference/debian-reference.en.txt.gz >text.part/debian/reference.txt
gunzip -c root/usr/share/doc/jargon-text/jargon.txt.gz | iconv -f utf-8 -t utf-8 -c >text.part/jargon/jargon.txt
cp -r root/usr/share/doc/python3.11/html/_sources/{tutorial,howto,faq} text.part/python
mv text.part text
