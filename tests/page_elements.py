"""A web page as a browser reads it."""

import html.parser


class Elements(html.parser.HTMLParser):
    """The page's elements, the text of each script, and all addresses."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.addresses = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, text):
        if self.tags and self.tags[-1] == "script":
            self.scripts[-1] += text
