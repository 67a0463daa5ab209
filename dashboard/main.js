// Puts the page together.

import { openForm } from "./form.js";
import { openLive } from "./live.js";

const live = openLive(document);
openForm(document, (id) => live.markOwn(id));
