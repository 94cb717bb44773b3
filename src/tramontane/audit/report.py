def report_html(content, scored):
    return ""
