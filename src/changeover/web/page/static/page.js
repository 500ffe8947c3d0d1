"use strict";
// Replaces the regions of the page that the server says have changed, and sends actions. The server draws everything.
(() => {
  const body = document.body, api = body.dataset.api, link = document.getElementById("link");
  const query = new URLSearchParams({ lang: body.dataset.lang });
  if (body.dataset.rollout) query.set("rollout", body.dataset.rollout);

  // -- live ----------------------------------------------------------------------------------------------------------
  const show = (state) => { link.dataset.state = state; link.textContent = link.dataset[state]; };
  const filter = () => {
    const wanted = (document.getElementById("filter")?.value ?? "").toLowerCase();
    for (const row of document.querySelectorAll("#history tbody tr")) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted);
    }
  };
  // What the user has typed, chosen or focused in a region survives its replacement.
  const selector = (element) => element.id ? "#" + CSS.escape(element.id)
    : element.dataset.action ? `[data-action="${element.dataset.action}"]`
    : element.name ? `[name="${element.name}"]`
    : element.href ? `[href="${CSS.escape(element.getAttribute("href"))}"]` : null;
  const replace = (name, html) => {
    const region = document.getElementById(name);
    if (!region) return;
    const kept = [...region.querySelectorAll("input, select")].map((field) => [selector(field), field.value]);
    const open = new Set([...region.querySelectorAll("details[open]")].map(selector));
    const active = region.contains(document.activeElement) ? selector(document.activeElement) : null;
    const scrolls = () => [...region.querySelectorAll(".scroll, .long")];
    const scrolled = scrolls().map((element) => [element.scrollLeft, element.scrollTop]);
    region.innerHTML = html;
    for (const [which, value] of kept) {
      const field = which && region.querySelector(which);
      if (field) field.value = value;
    }
    for (const one of region.querySelectorAll("details")) one.open = open.has(selector(one));
    scrolls().forEach((element, index) => element.scrollTo(...scrolled[index] ?? [0, 0]));
    if (active) region.querySelector(active)?.focus({ preventScroll: true });
    if (name === "history") filter();
    if (name === "now") announce();
  };
  // A screen reader hears what the rollout waits for when that changes, and not each second of a countdown.
  const announcement = document.getElementById("announcement");
  let lastKind = null;
  const announce = () => {
    const text = document.getElementById("waits")?.textContent.trim() ?? "", kind = text.replace(/[\d.]+/g, "");
    if (lastKind !== null && kind !== lastKind) announcement.textContent = text;
    lastKind = kind;
  };
  announce();
  // A click is lost if its button is replaced between press and release: then the regions wait.
  const waiting = new Map();
  let pressed = false;
  const update = (regions) => {
    for (const [name, html] of Object.entries(regions)) waiting.set(name, html);
    if (pressed) return;
    for (const [name, html] of waiting) replace(name, html);
    waiting.clear();
  };
  document.addEventListener("pointerdown", () => { pressed = true; });
  for (const end of ["pointerup", "pointercancel"]) {
    document.addEventListener(end, () => { pressed = false; setTimeout(() => update({})); });
  }
  let events = null;
  const connect = () => {
    events = new EventSource(`${api}/events?${query}`);
    events.onopen = () => show("live");
    events.onerror = () => {
      show("lost");
      // A browser gives up after a response that is no stream, such as a proxy's 502.
      if (events.readyState === EventSource.CLOSED) setTimeout(connect, 3000);
    };
    events.addEventListener("regions", (event) => update(JSON.parse(event.data)));
  };
  connect();
  document.addEventListener("input", (event) => { if (event.target.id === "filter") filter(); });

  // -- actions -------------------------------------------------------------------------------------------------------
  const dialog = document.getElementById("confirm"), yes = document.getElementById("confirm-yes");
  const showPlan = document.getElementById("confirm-plan");
  const token = document.getElementById("token"), answer = document.getElementById("confirm-answer");
  const text = document.getElementById("confirm-text"), notice = document.getElementById("notice");
  let pending = null;  // what the button of the dialog does
  token.value = sessionStorage.getItem("changeover-token") ?? "";

  const post = async (path, asked) => {
    sessionStorage.setItem("changeover-token", token.value);
    const response = await fetch(`${api}/${path}?${query}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token.value}` },
      body: JSON.stringify(asked),
    });
    const json = (response.headers.get("content-type") ?? "").startsWith("application/json");
    const data = json ? await response.json() : { error: [{ what: (await response.text()).trim() }] };
    if (!response.ok) {
      const problems = data.error ?? [{ what: `HTTP ${response.status}` }];
      throw new Error(problems.map((one) => [one.what, one.state, one.next].filter(Boolean).join(" ")).join("\n"));
    }
    return data;
  };
  const say = (sentences) => {
    text.replaceChildren(...sentences.map((one) => {
      const line = document.createElement("p");
      line.textContent = one;
      return line;
    }));
  };
  // The button that shows a plan is never the one that carries it out: a second click on the first does nothing.
  const ask = (command, sentences, work, button = yes) => {
    document.getElementById("confirm-what").textContent = command;
    for (const one of [yes, showPlan]) one.hidden = one !== button;
    yes.textContent = yes.dataset.confirm.replace("{}", command);
    say(sentences);
    answer.textContent = "";
    pending = work;
    if (!dialog.open) dialog.showModal();
    (token.value ? document.getElementById("confirm-no") : token).focus();
  };
  const work = async () => {
    if (!pending || yes.disabled) return;
    yes.disabled = showPlan.disabled = true;
    answer.textContent = yes.dataset.busy;
    try {
      await pending();
    } catch (error) {
      answer.textContent = `${yes.dataset.failed}: ${error.message}`;
    } finally {
      yes.disabled = showPlan.disabled = false;
    }
  };
  const act = (name, asked) => async () => {
    const data = await post(`actions/${name}`, asked);
    notice.textContent = data.exit_code === null ? yes.dataset.goesOn.replace("{}", data.pid) : "";
    dialog.close();
  };
  for (const one of [yes, showPlan]) one.addEventListener("click", work);
  dialog.addEventListener("close", () => { pending = null; });
  token.addEventListener("keydown", (event) => { if (event.key === "Enter") { event.preventDefault(); work(); } });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-action]");
    if (!button) return;
    const { action, tier, command } = button.dataset;
    ask(command, [button.dataset.text], act(action, action === "resume" ? {} : { tier }));
  });
  document.addEventListener("submit", (event) => {
    if (event.target.id !== "roll") return;
    event.preventDefault();
    const [tier, to] = event.target.elements.to.value.split(" ");
    const plan = async () => {
      const made = await post("plan", { tier, to });
      if (!dialog.open) return;  // the user has left it
      if (made.id === null) {
        say(made.sentences);
        answer.textContent = "";
        pending = null;
      } else {
        ask(`changeover roll --plan ${made.id}`, made.sentences, act("roll", { plan: made.id }));
      }
    };
    ask(`changeover plan ${tier} --to ${to}`, [], plan, showPlan);
    if (token.value) work();
  });
})();
