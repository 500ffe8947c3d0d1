CREATE TABLE asks (id integer primary key, tier text not null, action text not null, who text not null,
    at real not null, answer text);
CREATE TABLE facts (name text primary key, value text not null);
INSERT INTO "facts" VALUES('file','$FILE');
INSERT INTO "facts" VALUES('up','yes');
INSERT INTO "facts" VALUES('keeper','$KEEPER');
CREATE TABLE lease (id integer primary key check (id = 1), epoch integer not null, pid integer,
    born integer, purpose text not null, since real not null);
INSERT INTO "lease" VALUES(1,2,4141,666,'roll runtime to v2',1000000002.204);
CREATE TABLE log (seq integer primary key, at real not null, rollout integer, tier text, instance text,
    kind text not null, text text not null);
INSERT INTO "log" VALUES(1,1000000000.075,2,'runtime','','event','Started(at=1000000000.075, goal=''v1'', strategy=None)');
INSERT INTO "log" VALUES(4,1000000000.076,1,'gateway','','event','Started(at=1000000000.076, goal=''v1'', strategy=None)');
INSERT INTO "log" VALUES(14,1000000000.724,1,'gateway','','command','Finish(outcome=''completed'', reason='''')');
INSERT INTO "log" VALUES(25,1000000000.885,2,'runtime','','command','Finish(outcome=''completed'', reason='''')');
INSERT INTO "log" VALUES(26,1000000002.216,3,'runtime','','event','Started(at=1000000002.216, goal=''v2'', strategy=''canary'')');
INSERT INTO "log" VALUES(40,1000000002.839,3,'runtime','','note','step 1 of 2 done: set weight 50 %');
CREATE TABLE members (name text primary key, tier text not null, phase text not null, serial integer
    not null, member text not null);
INSERT INTO "members" VALUES('gateway-v1-1','gateway','admitted',1,'{"name": "gateway-v1-1", "template": "v1", "serial": 1, "phase": "admitted", "times": {"created": 1000000000.076, "creating": 1000000000.076, "warming": 1000000000.474, "ready": 1000000000.579, "admitted": 1000000000.724}, "patience_from": 1000000000.076, "asked_at": 1000000000.579, "deadline": null, "last_busy": null, "overdue": false, "cut": "", "weight": 100, "weight_seen": 100, "served": true, "given_up": false}');
INSERT INTO "members" VALUES('runtime-v1-1','runtime','admitted',1,'{"name": "runtime-v1-1", "template": "v1", "serial": 1, "phase": "admitted", "times": {"created": 1000000000.075, "creating": 1000000000.075, "warming": 1000000000.65, "ready": 1000000000.77, "admitted": 1000000000.812}, "patience_from": 1000000002.208, "asked_at": 1000000002.216, "deadline": null, "last_busy": null, "overdue": false, "cut": "", "weight": 128, "weight_seen": 128, "served": true, "given_up": false}');
INSERT INTO "members" VALUES('runtime-v1-2','runtime','admitted',2,'{"name": "runtime-v1-2", "template": "v1", "serial": 2, "phase": "admitted", "times": {"created": 1000000000.075, "creating": 1000000000.075, "warming": 1000000000.729, "ready": 1000000000.848, "admitted": 1000000000.885}, "patience_from": 1000000002.208, "asked_at": 1000000002.216, "deadline": null, "last_busy": null, "overdue": false, "cut": "", "weight": 128, "weight_seen": 128, "served": true, "given_up": false}');
INSERT INTO "members" VALUES('runtime-v2-3','runtime','admitted',3,'{"name": "runtime-v2-3", "template": "v2", "serial": 3, "phase": "admitted", "times": {"created": 1000000002.216, "creating": 1000000002.216, "warming": 1000000002.646, "ready": 1000000002.757, "admitted": 1000000002.796}, "patience_from": 1000000002.216, "asked_at": 1000000002.757, "deadline": null, "last_busy": null, "overdue": false, "cut": "", "weight": 256, "weight_seen": 256, "served": true, "given_up": false}');
CREATE TABLE releases (id integer primary key, goals text not null, came_from text not null, strategy
    text, started real not null, undoing text, ended real, outcome text, reason text);
INSERT INTO "releases" VALUES(1,'{"runtime": "v2"}','{"runtime": "v1"}','canary',1000000002.208,NULL,NULL,NULL,NULL);
CREATE TABLE rollouts (id integer primary key, tier text not null, came_from text not null, goal text
    not null, started real not null, ended real, outcome text, reason text, told integer not null default 0);
INSERT INTO "rollouts" VALUES(1,'gateway','','v1',1000000000.074,1000000000.724,'completed','',0);
INSERT INTO "rollouts" VALUES(2,'runtime','','v1',1000000000.074,1000000000.885,'completed','',0);
INSERT INTO "rollouts" VALUES(3,'runtime','v1','v2',1000000002.212,NULL,NULL,NULL,0);
CREATE TABLE templates (tier text, name text, hash text not null, primary key (tier, name));
INSERT INTO "templates" VALUES('runtime','v1','fdea88bc31fb');
INSERT INTO "templates" VALUES('gateway','v1','e7790801584d');
INSERT INTO "templates" VALUES('runtime','v2','30f8ca2332d8');
CREATE TABLE tiers (tier text primary key, course text not null);
INSERT INTO "tiers" VALUES('gateway','{"goal": "v1", "previous": null, "status": "resting", "reason": "", "serial": 1, "failures": 0, "admitted_at": 1000000000.724, "not_before": 1000000000.076, "deaths": 0, "admissions": 1, "before_first": 0, "strategy": "rolling", "step": 0, "step_at": 1000000000.076, "asked": false, "promoted": false, "asking": "", "after": "", "paused": "", "before": null, "tried": null}');
INSERT INTO "tiers" VALUES('runtime','{"goal": "v2", "previous": "v1", "status": "rolling", "reason": "", "serial": 3, "failures": 0, "admitted_at": 1000000002.796, "not_before": 1000000002.216, "deaths": 0, "admissions": 1, "before_first": 2, "strategy": "canary", "step": 1, "step_at": 1000000002.839, "asked": false, "promoted": false, "asking": "", "after": "", "paused": "", "before": null, "tried": null}');
CREATE INDEX members_here on members (tier, phase);
