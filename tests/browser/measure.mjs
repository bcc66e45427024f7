// What can be measured of a page that somebody must be able to read and use. Runs inside the page.

/** Everything about the open page that would keep somebody from using it, as sentences; empty when all is well. */
export function complaints() {
  const found = [];
  const name = (element) =>
    `<${element.localName}${element.id ? ` id=${element.id}` : ""}${element.className ? ` class=${element.className}` : ""}>`;
  const say = (element, text) => found.push(`${name(element)} ${text}`);

  const parse = (color) => {
    const [r, g, b, a = 1] = color.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, under) => {
    const mix = (channel) => top[channel] * top.a + under[channel] * (1 - top.a);
    return { r: mix("r"), g: mix("g"), b: mix("b"), a: 1 };
  };
  // WCAG 2.2, "relative luminance" and "contrast ratio".
  const luminance = ({ r, g, b }) => {
    const [x, y, z] = [r, g, b].map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const contrast = (one, other) => {
    const [high, low] = [luminance(one), luminance(other)].sort((a, b) => b - a);
    return (high + 0.05) / (low + 0.05);
  };
  // What is painted behind an element; `null` where a picture is, whose colours nobody can name.
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.backgroundImage !== "none") return null;
      layers.push(parse(style.backgroundColor));
      if (layers.at(-1).a === 1) break;
    }
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const canvas = dark ? { r: 18, g: 18, b: 18, a: 1 } : { r: 255, g: 255, b: 255, a: 1 };
    return layers.reduceRight((under, layer) => over(layer, under), canvas);
  };
  const visible = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });

  if (!document.documentElement.lang) found.push("the page names no language");
  if (!document.title.trim()) found.push("the page has no title");
  if (document.querySelectorAll("h1").length !== 1) found.push("the page has not exactly one main heading");
  if (!document.querySelector("main")) found.push("the page has no main part");
  if (document.documentElement.scrollWidth > innerWidth) {
    found.push(`the page is ${document.documentElement.scrollWidth} px wide in a window of ${innerWidth}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  if (new Set(ids).size !== ids.length) found.push(`an id is there twice: ${ids}`);

  for (const element of document.body.querySelectorAll("*")) {
    if (!visible(element)) continue;
    const style = getComputedStyle(element);
    const box = element.getBoundingClientRect();
    if (box.width && (box.right > innerWidth + 0.5 || box.left < -0.5)) say(element, "stands out of the window");
    if (style.overflowX !== "visible" && style.overflowX !== "auto" && element.scrollWidth > element.clientWidth + 1) {
      if (element.localName !== "input") say(element, "cuts off what it holds");
    }
    const texts = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const isField = element.matches("input:not([type=checkbox], [type=hidden]), textarea, select");
    if (texts.length || isField) {
      const behind = ground(element);
      if (!behind) {
        say(element, "has text on a picture");
      } else {
        const ratio = contrast(over(parse(style.color), behind), behind);
        if (ratio < 4.5) say(element, `has text of contrast ${ratio.toFixed(2)}: ${element.textContent.trim()}`);
      }
      if (parseFloat(style.fontSize) < 12) say(element, `has text of ${style.fontSize}`);
    }
    if (isField) {
      const around = ground(element.parentElement);
      const ratio = contrast(over(parse(style.borderTopColor), around), around);
      if (ratio < 3) say(element, `has an edge of contrast ${ratio.toFixed(2)}`);
    }
  }

  for (const field of document.querySelectorAll("input:not([type=hidden]), textarea, select")) {
    if (!visible(field)) continue;
    if (!field.labels?.length && !field.getAttribute("aria-label")) say(field, "has no label");
    const described = field.getAttribute("aria-describedby");
    for (const id of described?.split(" ") ?? []) {
      if (!document.getElementById(id)) say(field, `is described by nothing: ${id}`);
    }
  }
  for (const target of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
    if (!visible(target)) continue;
    if (!target.textContent.trim() && !target.labels?.length && !target.getAttribute("aria-label")) {
      say(target, "has no name");
    }
    // WCAG 2.2, 2.5.8; a link inside a sentence is as high as its line.
    const inText = target.localName === "a" && getComputedStyle(target).display === "inline";
    const area = (target.type === "checkbox" && target.labels[0]) || target;
    const { width, height } = area.getBoundingClientRect();
    if (!inText && (width < 24 || height < 24)) say(target, `is too small to hit: ${width} × ${height}`);
  }
  return found;
}

/** Everything that the keyboard should reach, in the order of the page. */
export function stops() {
  const all = document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary");
  return [...all].filter((element) => element.checkVisibility() && !element.disabled).length;
}

/** Where the focus is: its place among what the keyboard should reach, and how it shows. */
export async function focus() {
  // The page is scrolled to the focus before the next frame is drawn.
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  const all = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")];
  const visible = all.filter((element) => element.checkVisibility() && !element.disabled);
  const element = document.activeElement;
  const style = getComputedStyle(element);
  const shown = style.outlineStyle !== "none" ? parseFloat(style.outlineWidth) : 0;
  const { top, bottom } = element.getBoundingClientRect();
  const ring = shown + Math.max(0, parseFloat(style.outlineOffset));
  return { place: visible.indexOf(element), shown, onScreen: top >= ring && bottom <= innerHeight - ring, html: element.outerHTML };
}
